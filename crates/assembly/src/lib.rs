//! The one place that knows every component: names, configuration, construction.
