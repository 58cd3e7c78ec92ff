//! The table of learners. One line registers one; everything else walks the table.

use crate::space::Tunable;
use crate::{
    AlsTrainer, Model, ModelError, Trainer, als, artefact, blend, content, ease, item_knn,
    item_knn_config as knn, item_weights, popular, rp3beta, space, spectral, trending, user_knn,
};

/// A learner that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct TrainerEntry {
    /// Its name in configurations and artefacts.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Builds it from a configuration (`null` for the default); unknown keys are refused.
    pub build: fn(&serde_json::Value) -> Result<Box<dyn Trainer>, ModelError>,
    /// Which keys of its configuration are worth tuning; `&[]` for none.
    pub space: &'static [Tunable],
    /// Reads the payload of one of its artefacts.
    load: Loader,
}

type Loader = fn(&[u8]) -> Result<Box<dyn Model>, ModelError>;

/// All learners, simplest first.
pub fn trainers() -> &'static [TrainerEntry] {
    TRAINERS
}

/// The learner with this name.
pub fn trainer(name: &str) -> Option<&'static TrainerEntry> {
    TRAINERS.iter().find(|entry| entry.name == name)
}

/// Reads a model that [`Model::save`] wrote.
///
/// # Errors
/// [`ModelError::Damaged`] if it is not what was written, or of a learner that is not in the table.
pub fn load(bytes: &[u8]) -> Result<Box<dyn Model>, ModelError> {
    let (name, payload) = artefact::open(bytes)?;
    let entry = trainer(name).ok_or_else(|| ModelError::Damaged {
        model: name.to_owned(),
        reason: "there is no learner of this name".to_owned(),
    })?;
    (entry.load)(payload)
}

static TRAINERS: &[TrainerEntry] = &[
    TrainerEntry {
        name: popular::NAME,
        summary: "what everyone takes, fading with age",
        source: "exponential decay; half-life by predictive likelihood",
        build: popular::PopularTrainer::build,
        space: space::POPULAR,
        load: popular::Popular::load,
    },
    TrainerEntry {
        name: trending::NAME,
        summary: "what is taken more now than in the long run",
        source: "observed over expected with Gamma-Poisson shrinkage (DuMouchel 1999)",
        build: trending::TrendingTrainer::build,
        space: space::TRENDING,
        load: trending::Trending::load,
    },
    TrainerEntry {
        name: knn::COSINE,
        summary: "items taken by the same people, by cosine; counts kept exact as events come",
        source: "Sarwar et al. 2001; Deshpande and Karypis 2004",
        build: knn::build_cosine,
        space: space::COSINE,
        load: |payload| item_knn::ItemKnn::load(knn::COSINE, payload),
    },
    TrainerEntry {
        name: knn::BM25,
        summary: "items taken by the same people, busy people counting less",
        source: "BM25 weighting (Robertson and Zaragoza 2009) before the cosine",
        build: knn::build_bm25,
        space: space::BM25,
        load: |payload| item_knn::ItemKnn::load(knn::BM25, payload),
    },
    TrainerEntry {
        name: knn::SWING,
        summary: "items vouched for by pairs of people who share little else",
        source: "Yang et al. 2020, arXiv:2010.05525",
        build: knn::build_swing,
        space: space::SWING,
        load: |payload| item_knn::ItemKnn::load(knn::SWING, payload),
    },
    TrainerEntry {
        name: rp3beta::NAME,
        summary: "items reached by a random walk over people, popular ones held back",
        source: "Paudel et al. 2016, ACM TiiS, doi:10.1145/2955101",
        build: rp3beta::Rp3BetaTrainer::build,
        space: space::RP3BETA,
        load: |payload| item_weights::ItemWeights::load(rp3beta::NAME, payload),
    },
    TrainerEntry {
        name: user_knn::NAME,
        summary: "what people with a like history took; anyone with a history is compared at once",
        source: "Resnick et al. 1994; Herlocker et al. 1999, on implicit data",
        build: user_knn::UserKnnTrainer::build,
        space: space::USER_KNN,
        load: user_knn::UserKnn::load,
    },
    TrainerEntry {
        name: als::NAME,
        summary: "implicit matrix factorisation; users folded in exactly from their history",
        source: "Hu, Koren, Volinsky 2008; Rendle et al. 2021, arXiv:2110.14037",
        build: AlsTrainer::build,
        space: space::ALS,
        load: als::Als::load,
    },
    TrainerEntry {
        name: ease::NAME,
        summary: "a linear model from items to items in closed form, for catalogues of up to tens of thousands",
        source: "Steck 2019, WWW, arXiv:1905.03375; Steck 2020, NeurIPS",
        build: ease::EaseTrainer::build,
        space: space::EASE,
        load: |payload| item_weights::ItemWeights::load(ease::NAME, payload),
    },
    TrainerEntry {
        name: spectral::NAME,
        summary: "a graph filter over items: neighbours, low-pass, sharpening; in closed form",
        source: "Shen et al. 2021, CIKM (GF-CF); Choi et al. 2023, SIGIR (BSPM)",
        build: spectral::SpectralTrainer::build,
        space: space::SPECTRAL,
        load: |payload| item_weights::ItemWeights::load(spectral::NAME, payload),
    },
    TrainerEntry {
        name: content::NAME,
        summary: "items described alike; new items count at once, no events needed",
        source: "TF-IDF and BM25 (Robertson and Zaragoza 2009) over typed attributes",
        build: content::ContentTrainer::build,
        space: space::CONTENT,
        load: content::Content::load,
    },
    TrainerEntry {
        name: blend::NAME,
        summary: "all of these, trusted by how much is known of the person",
        source: "linear stacking (Breiman 1996; Jahrer et al. 2010), weights by history length",
        build: blend::BlendTrainer::build,
        space: &[],
        load: blend::Blend::load,
    },
];
