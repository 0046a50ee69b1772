//! What happens when completions find the queue full: which flag, which call fails, what is lost.
//! It promises to count every completion. What it costs in memory is not measured.

use std::io;
use std::net::UdpSocket;

use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, enter, shown};

const GETEVENTS: u32 = 1;
const GROUP: u16 = 0;

/// Ops with one completion each: all are kept, in order.
fn single_shots(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(4, 4)?;
    for tag in 0..20 {
        lab.nop(tag)?;
    }
    lab.submit()?;
    report.saw(format_args!("20 nops through a CQ of 4: {} in the queue", lab.ready()));
    report.holds("the overflow flag is set", lab.overflowed());
    lab.nop(20)?;
    let submit = lab.submit();
    report.saw(format_args!("submit while overflowed: {}", shown(&submit)));
    report.holds("submit still takes entries: no EBUSY", matches!(submit, Ok(1)));
    let wait = enter(&lab, 0, 1, GETEVENTS);
    report.saw(format_args!("wait while overflowed and the CQ full: {}", shown(&wait)));
    let seen = lab.reap();
    report.holds("taking what is there brings 4", seen.len() == 4);
    report.holds("the rest comes only with an enter", lab.reap().is_empty());
    let mut tags: Vec<u64> = seen.iter().map(|cqe| cqe.tag).collect();
    tags.extend(lab.wait(17, LONG)?.iter().map(|cqe| cqe.tag));
    report.holds("all 21 came, in order", tags == (0..=20).collect::<Vec<_>>());
    report.holds("the flag is clear, the counter of lost ones is 0", !lab.overflowed() && lab.lost() == 0);
    Ok(())
}

/// A multishot ends at the completion that does not fit; what it had not received stays in the socket.
fn multishot(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(4, 8)?;
    lab.add_pool(GROUP, 32, 16)?;
    for bid in 0..32 {
        lab.give(GROUP, bid);
    }
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    far.connect(near.local_addr()?)?;
    lab.recv_multi(&near, GROUP, 1)?;
    lab.submit()?;
    for number in 0..20u8 {
        far.send(&[number])?;
    }
    let (mut numbers, mut ends) = (Vec::new(), 0);
    while numbers.len() < 20 && ends < 20 {
        // As a busy loop does: the queue is not looked at before it is full.
        lab.park(8, QUIET)?;
        let cqes = lab.wait(20, QUIET)?;
        let Some((last, rest)) = cqes.split_last() else {
            break;
        };
        report.saw(format_args!("armed: {} completions, the last: {last}", cqes.len()));
        ends += usize::from(!last.more() && rest.iter().all(|cqe| cqe.more()));
        for bid in cqes.iter().filter_map(|cqe| cqe.buffer()) {
            numbers.extend(lab.provided(GROUP, bid, 1));
        }
        if !last.more() {
            lab.recv_multi(&near, GROUP, 1)?;
        }
    }
    report.holds("the one that met a full CQ has data and no F_MORE", ends >= 1);
    let whole = numbers == (0..20).collect::<Vec<u8>>();
    report.holds("armed again each time: all 20 datagrams came, in order", whole);
    report.holds("nothing lost", lab.lost() == 0);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    single_shots(&mut report)?;
    multishot(&mut report)?;
    Ok(report.finish())
}
