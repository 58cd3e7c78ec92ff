//! Figures for Prometheus.

use assembly::Service;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Upper ends of the ranges into which durations are counted, seconds.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The figures of one server.
pub(crate) struct Numbers {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Numbers {
    pub(crate) fn new() -> Numbers {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Numbers { recorder, handle }
    }

    pub(crate) fn request(&self, route: &'static str, method: &str, status: u16, seconds: f64) {
        // Only methods that there are: a name made up by a caller must not become a series.
        let method = match method {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            "HEAD" => "HEAD",
            _ => "other",
        };
        metrics::with_local_recorder(&self.recorder, || {
            counter!("concierge_requests_total", "route" => route, "method" => method, "status" => status.to_string())
                .increment(1);
            histogram!("concierge_request_seconds", "route" => route, "method" => method).record(seconds);
        });
    }

    /// Rows of a batch by what became of them.
    pub(crate) fn rows(&self, what: &'static str, accepted: u64, duplicate: u64, rejected: u64) {
        metrics::with_local_recorder(&self.recorder, || {
            for (became, count) in [
                ("accepted", accepted),
                ("duplicate", duplicate),
                ("rejected", rejected),
            ] {
                counter!("concierge_rows_total", "of" => what, "became" => became).increment(count);
            }
        });
    }

    /// A slate, with what took how long and what did not go as configured. Stages come from configuration and are few.
    pub(crate) fn slate(&self, slate: &assembly::RecommendResponse) {
        metrics::with_local_recorder(&self.recorder, || {
            for (stage, micros) in &slate.timings_us {
                histogram!("concierge_stage_seconds", "stage" => stage.clone()).record(*micros as f64 / 1e6);
            }
            if !slate.degraded.is_empty() {
                counter!("concierge_degraded_total").increment(1);
            }
            for degraded in &slate.degraded {
                counter!("concierge_degraded_stages_total", "stage" => degraded.stage.clone()).increment(1);
            }
        });
    }

    /// A request that was turned away.
    pub(crate) fn turned_away(&self, reason: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("concierge_turned_away_total", "reason" => reason).increment(1);
        });
    }

    /// Everything, with how things stand now.
    pub(crate) fn render(&self, service: &Service, waiting: usize) -> String {
        let status = service.status();
        metrics::with_local_recorder(&self.recorder, || {
            let lag = status.sequence.saturating_sub(status.absorbed_sequence);
            for (name, value) in [
                ("concierge_events", status.events),
                ("concierge_items", status.items),
                ("concierge_hidden_items", status.hidden_items),
                ("concierge_users", status.users),
                ("concierge_decisions", status.decisions),
                ("concierge_decision_bytes", status.decision_bytes),
                ("concierge_outcome_decisions", status.outcomes.decisions),
                ("concierge_outcome_decisions_joined", status.outcomes.with_outcome),
                ("concierge_outcome_events", status.outcomes.events),
                ("concierge_outcome_events_joined", status.outcomes.joined),
                ("concierge_sequence", status.sequence),
                ("concierge_absorbed_lag_events", lag),
                ("concierge_waiting_events", service.waiting() as u64),
                ("concierge_waiting_requests", waiting as u64),
                ("concierge_training", u64::from(status.training)),
                ("concierge_warnings", status.warnings.len() as u64),
            ] {
                gauge!(name).set(value as f64);
            }
            for (model, share) in &status.staleness {
                gauge!("concierge_staleness", "model" => model.clone()).set(*share);
            }
            if let Some(at) = status.trained_at {
                gauge!("concierge_trained_timestamp_seconds").set(at as f64 / 1000.0);
            }
        });
        self.handle.run_upkeep();
        self.handle.render()
    }
}
