//! The Artisan endpoints: a flow comes in, a PipelineRun runs.
