//! What to change, most useful first. Each piece of advice says what is wrong, what it costs and what to do.

use ringwork::runtime::Capabilities;

/// A server with fewer descriptors turns clients away that its memory and CPUs could serve.
const FEW_DESCRIPTORS: u64 = 4096;

/// All that applies.
pub(crate) fn give(found: &Capabilities) -> Vec<String> {
    let mut advice = Vec::new();
    advice.extend(memory(found));
    advice.extend(descriptors(found));
    advice.extend(quota(found));
    advice.extend(features(found));
    advice
}

fn memory(found: &Capabilities) -> Option<String> {
    let rings = found.rings.as_ref().ok()?;
    let is_short = rings.reached.iter().any(|reached| *reached != rings.wanted);
    is_short.then(|| {
        "Locked memory is short, so rings are smaller than wanted and a busy core enters the kernel more \
         often. Raise it: `ulimit -l 8192`, or LimitMEMLOCK=8M in the service."
            .to_owned()
    })
}

fn descriptors(found: &Capabilities) -> Option<String> {
    let limit = found.open_files;
    (limit < FEW_DESCRIPTORS).then(|| {
        format!(
            "A connection takes a descriptor, and {limit} are few for a server. Raise the limit: \
             `ulimit -n 65536`, or LimitNOFILE=65536 in the service."
        )
    })
}

fn quota(found: &Capabilities) -> Option<String> {
    let quota = found.cpu_quota?;
    let cpus = found.cpus.len();
    (quota < cpus as f64).then(|| {
        format!(
            "The control group stops the process after {quota:.2} CPUs' worth of time, whichever of its \
             {cpus} CPUs it used: cores are held up in mid-work and cannot be pinned. Give it whole CPUs \
             instead (cpuset.cpus)."
        )
    })
}

fn features(found: &Capabilities) -> Vec<String> {
    let Ok(rings) = &found.rings else { return Vec::new() };
    let missing = rings.features.iter().filter(|feature| !feature.present);
    missing
        .map(|feature| {
            let (name, since, without) = (feature.name, feature.since, feature.without);
            format!("{name} is not here: {without}. Linux {since} or newer has it, if nothing forbids it.")
        })
        .collect()
}
