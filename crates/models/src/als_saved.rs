//! How a model of implicit ALS is written and read.

use crate::Model;
use crate::ModelError;
use crate::als::{Als, NAME};
use crate::als_absence::typical;
use crate::als_config::AlsConfig;
use crate::als_fold::mark;
use crate::als_fresh::{Fresh, Sums};
use crate::als_prior::FeatureMap;
use crate::artefact::{Reader, Writer};
use crate::common::{parse, shown};
use crate::memo::Memo;
use numeric::norm;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Als {
    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        to.json(&shown(&self.config));
        to.vocabulary(&self.vocabulary);
        to.f32s(&self.factors);
        to.f32s(&self.gram);
        to.f32s(&self.users_gram);
        to.u64(self.n_users as u64);
        to.f32(self.scale);
        to.f32(self.noise);
        to.u32s(&self.counts);
        to.f32s(&self.means);
        for map in [&self.item_map, &self.user_map] {
            to.u32(u32::from(map.is_some()));
            map.iter().for_each(|map| map.write(to));
        }
        to.u64(self.fresh.len() as u64);
        for (item, fresh) in &self.fresh {
            to.u32(*item);
            to.f32s(&fresh.factor);
            to.f32s(&fresh.mean);
            to.f32s(&fresh.start);
            let none = Sums::default();
            let sums = fresh.sums.as_ref().unwrap_or(&none);
            to.f32s(&sums.matrix);
            to.f32s(&sums.side);
            to.u64(sums.users as u64);
        }
    }

    pub(crate) fn load(payload: &[u8]) -> Result<Box<dyn Model>, ModelError> {
        let mut from = Reader::new(NAME, payload);
        let config: AlsConfig = parse(NAME, &from.json()?).map_err(|e| from.damaged(e.to_string()))?;
        config.check().map_err(|e| from.damaged(e.to_string()))?;
        let d = config.factors;
        let vocabulary = from.vocabulary()?;
        let factors = bounded(&mut from)?;
        from.expect(
            factors.len().is_multiple_of(d) && factors.len() / d <= vocabulary.len(),
            "a factor per item expected",
        )?;
        let (gram, users_gram) = (bounded(&mut from)?, bounded(&mut from)?);
        from.expect(
            gram.len() == d * d && users_gram.len() == d * d,
            "a square matrix expected",
        )?;
        let n_users = from.u64()? as usize;
        let (scale, noise) = (from.f32()?, from.f32()?);
        from.expect(
            scale > 0.0 && (1e-6..=1e6).contains(&noise) && n_users <= 1 << 40,
            "a constant is out of range",
        )?;
        let counts = from.u32s()?;
        let means = bounded(&mut from)?;
        from.expect(
            counts.len() * d == factors.len() && (means.is_empty() || means.len() == factors.len()),
            "a count and a mean per item expected",
        )?;
        let mut maps = [None, None];
        for map in &mut maps {
            if from.u32()? != 0 {
                *map = Some(Arc::new(FeatureMap::load(&mut from, d)?));
            }
        }
        let [item_map, user_map] = maps;
        let typical = typical(&counts);
        let absence = config.absence(typical);
        let mut fresh = BTreeMap::new();
        let mut taking = 0;
        for _ in 0..from.length(48)? {
            let item = from.u32()?;
            let (factor, mean, start) = (bounded(&mut from)?, bounded(&mut from)?, bounded(&mut from)?);
            let sums = Sums {
                matrix: bounded(&mut from)?,
                side: bounded(&mut from)?,
                users: from.u64()? as usize,
            };
            let entries = counts.get(item as usize).copied().unwrap_or(0);
            let whole = |v: &Vec<f32>| v.is_empty() || v.len() == d;
            let summed = sums.side.len() == d && sums.matrix.len() == d * d;
            from.expect(
                factor.len() == d
                    && whole(&mean)
                    && start.len() == if entries > 0 { d } else { 0 }
                    && (summed || sums == Sums::default())
                    && (item as usize) < vocabulary.len(),
                "a fresh item does not fit",
            )?;
            taking += usize::from(summed);
            let since = if summed { sums.users } else { 0 };
            let one = Fresh {
                factor,
                mean,
                start,
                sums: summed.then_some(sums),
                counted: absence.counted((entries as usize).saturating_add(since)),
            };
            fresh.insert(item, Arc::new(one));
        }
        from.end()?;
        let mut marks = Vec::new();
        fresh.keys().for_each(|item| mark(&mut marks, *item));
        Ok(Box::new(Als {
            norms: Arc::new(factors.chunks_exact(d).map(norm).collect()),
            factors: Arc::new(factors),
            users_gram: Arc::new(users_gram),
            counts: Arc::new(counts),
            typical,
            means: Arc::new(means),
            item_map,
            user_map,
            config,
            vocabulary,
            gram,
            n_users,
            scale,
            noise,
            marks,
            fresh,
            taking,
            apart: Arc::default(),
            memo: Memo::default(),
        }))
    }
}

/// Numbers small enough that products of a few stay finite.
fn bounded(from: &mut Reader<'_>) -> Result<Vec<f32>, ModelError> {
    let values = from.f32s()?;
    from.expect(values.iter().all(|v| v.abs() < 1e12), "a number is out of range")?;
    Ok(values)
}
