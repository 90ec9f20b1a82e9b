//! Options that several commands about objects share.

use clap::{
    ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum, error::ErrorKind,
    parser::ValueSource,
};

/// Where the objects are.
///
/// What was typed goes before what the environment says: a `HOOKRUN_SERVER` that is still set from a first try must not
/// take the place of a cluster that was named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects(Place);

impl std::ops::Deref for Objects {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Args for Objects {
    fn augment_args(command: Command) -> Command {
        Place::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Place::augment_args_for_update(command)
    }
}

impl FromArgMatches for Objects {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let (server, cluster) = (typed("server"), typed("kubeconfig") || typed("context"));
        if server && cluster {
            let both = "--server names a Kubernetes API instead of a kubeconfig: leave it out, or --kubeconfig and --context\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, both));
        }
        let mut place = Place::from_arg_matches_mut(matches)?;
        if cluster {
            place.server = None;
        }
        Ok(Self(place))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Options that say where the objects are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct Place {
    /// URL of a Kubernetes API that asks for no credentials, as `hookrun dev` serves it; instead of a kubeconfig.
    ///
    /// --kubeconfig or --context on the command line goes before the variable.
    #[arg(long, env = "HOOKRUN_SERVER", value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub(crate) server: Option<String>,

    /// Namespace; that of the kubeconfig's context, else `default`, if not given.
    #[arg(long, short, env = "HOOKRUN_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) connection: cluster::Connection,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How results are written: for people, or for programs.
    #[arg(
        long = "output",
        short = 'o',
        env = "HOOKRUN_OUTPUT",
        value_name = "FORM",
        default_value = "text"
    )]
    pub(crate) form: Form,
}

/// Forms of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people; changes from version to version.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        objects: Objects,
    }

    /// The server that is asked; the variable of the environment stands for itself.
    fn server(environment: Option<&'static str>, typed: &[&str]) -> Result<Option<String>, Error> {
        let command = <Typed as clap::CommandFactory>::command();
        let command = command.mut_arg("server", |server| match environment {
            // As a variable counts: it is there, and nobody typed it.
            Some(url) => server.env(None::<&str>).default_value(url),
            None => server.env(None::<&str>),
        });
        let mut matches = command.try_get_matches_from(["hookrun"].iter().chain(typed))?;
        let typed = Typed::from_arg_matches_mut(&mut matches)?;
        Ok(typed.objects.server.clone())
    }

    #[test]
    fn a_typed_cluster_goes_before_a_server_of_the_environment() {
        let found = |environment, typed: &[&str]| server(environment, typed).expect("it is legal");
        assert_eq!(found(Some("http://a"), &[]).as_deref(), Some("http://a"));
        assert_eq!(found(Some("http://a"), &["--context", "c"]), None);
        assert_eq!(found(Some("http://a"), &["--kubeconfig", "f"]), None);
        let typed = found(Some("http://a"), &["--server", "http://b"]);
        assert_eq!(typed.as_deref(), Some("http://b"));
        let both = server(None, &["--server", "http://b", "--context", "c"]);
        let both = both.expect_err("they exclude each other");
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
    }
}
