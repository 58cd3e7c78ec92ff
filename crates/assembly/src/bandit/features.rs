//! From a person, a context and an item to numbers. What is missing is 0: an indicator that is off, a number at its center.

use super::config::{BanditConfig, Feature, FeatureOf};
use domain::{Attributes, RawAttribute};

/// What features are read from.
pub(crate) struct Sight<'a> {
    pub(crate) context: &'a Attributes,
    pub(crate) person: &'a Attributes,
}

fn has(value: &RawAttribute, wanted: &str) -> bool {
    match value {
        RawAttribute::Text(text) => text == wanted,
        RawAttribute::Texts(texts) => texts.iter().any(|text| text == wanted),
        RawAttribute::Flag(flag) => wanted == if *flag { "true" } else { "false" },
        RawAttribute::Number(number) => number.to_string() == wanted,
        _ => false,
    }
}

fn number(value: &RawAttribute) -> Option<f64> {
    match value {
        RawAttribute::Number(number) => Some(*number),
        RawAttribute::Flag(flag) => Some(f64::from(u8::from(*flag))),
        RawAttribute::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn push(feature: &Feature, value: Option<&RawAttribute>, out: &mut Vec<f64>) {
    if feature.values.is_empty() {
        let number = value.and_then(number);
        out.push(number.map_or(0.0, |number| (number - feature.center) / feature.scale));
    } else {
        let indicator = |wanted: &String| f64::from(u8::from(value.is_some_and(|value| has(value, wanted))));
        out.extend(feature.values.iter().map(indicator));
    }
}

/// Features with weights of an action's own: the same for all actions of a request.
pub(crate) fn own(config: &BanditConfig, sight: &Sight<'_>) -> Vec<f64> {
    let mut out = vec![1.0];
    for feature in &config.own {
        let from = match feature.of {
            FeatureOf::Person => sight.person,
            _ => sight.context,
        };
        push(feature, from.get(&feature.name), &mut out);
    }
    out
}

/// Features with weights that actions share.
pub(crate) fn shared(
    config: &BanditConfig,
    sight: &Sight<'_>,
    own: &[f64],
    item: Option<&Attributes>,
    score: f32,
) -> Vec<f64> {
    let mut out = Vec::new();
    for feature in &config.shared {
        let from = match feature.of {
            FeatureOf::Context => Some(sight.context),
            FeatureOf::Person => Some(sight.person),
            FeatureOf::Item => item,
            FeatureOf::Score => {
                out.push((f64::from(score) - feature.center) / feature.scale);
                continue;
            }
        };
        push(feature, from.and_then(|from| from.get(&feature.name)), &mut out);
    }
    if !config.cross {
        return out;
    }
    out.iter()
        .flat_map(|shared| own.iter().map(move |own| shared * own))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_hand() {
        let config: BanditConfig = toml::from_str(
            "learner = \"linear\"\ncross = true\n\
             own = [{ of = \"context\", name = \"device\", values = [\"phone\", \"desk\"] }, { of = \"person\", name = \"age\", center = 40.0, scale = 10.0 }]\n\
             shared = [{ of = \"item\", name = \"kind\", values = [\"coupon\"] }, { of = \"score\", scale = 2.0, prior = 1.0 }]",
        )
        .expect("a configuration");
        let text = |text: &str| RawAttribute::Text(text.to_owned());
        let context = Attributes::from([("device".to_owned(), text("desk"))]);
        let person = Attributes::from([("age".to_owned(), RawAttribute::Number(25.0))]);
        let item = Attributes::from([("kind".to_owned(), RawAttribute::Texts(vec!["coupon".to_owned()]))]);
        let sight = Sight {
            context: &context,
            person: &person,
        };
        let own = own(&config, &sight);
        assert_eq!(own, [1.0, 0.0, 1.0, -1.5]);
        let shared = shared(&config, &sight, &own, Some(&item), 3.0);
        assert_eq!(shared, [1.0, 0.0, 1.0, -1.5, 1.5, 0.0, 1.5, -2.25]);
        assert_eq!(config.shape(), (4, 8));
    }
}
