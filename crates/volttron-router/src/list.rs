//! `pubsub list`: what is subscribed (subsystems.md section 5.4).

use volttron_utils::json;
use volttron_utils::vip::{Frame, Frames, typed};

use crate::peers::PeerId;
use crate::pubsub::{BadRequest, bus_name, is_true};
use crate::router::Router;
use crate::tree::Table;
use crate::{Output, Policy};

impl<F: Frame, P: Policy> Router<F, P> {
    /// Missing or unreadable arguments give an empty list.
    pub(crate) fn list(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let listing = self.listing(sender, &frames).unwrap_or_else(|BadRequest| {
            self.meter.bad_requests += 1;
            b"[]".to_vec()
        });
        self.answer(sender, frames, [F::from_static(b"list_response"), F::from_vec(listing)], out);
    }

    /// `[[bus, prefix, is_member], ..]`.
    fn listing(&mut self, sender: PeerId, frames: &Frames<F>) -> Result<Vec<u8>, BadRequest> {
        let document = self.document(frames, 1)?;
        let get = |key| document.get(key).ok_or(BadRequest);
        let start = get("prefix")?.as_str().and_then(typed::latin1).ok_or(BadRequest)?;
        let table = if is_true(Some(get("all_platforms")?)) { Table::All } else { Table::Internal };
        let only_own = is_true(Some(get("subscribed")?));
        let reverse = is_true(Some(get("reverse")?));
        let bus = get("bus")?;
        let bus = if bus.is_null() { None } else { Some(bus_name(bus)?) };

        let most = self.limits.list_bytes;
        let mut listing = b"[".to_vec();
        let mut cut = false;
        for (name, one) in self.buses.iter() {
            if bus.as_ref().is_some_and(|bus| bus != name) {
                continue;
            }
            one.tree.list(&start, reverse, table, sender, |prefix, member| {
                if only_own && !member {
                    return true;
                }
                if listing.len() + name.len() + prefix.len() > most {
                    cut = true;
                    return false;
                }
                listing.extend_from_slice(if listing.len() > 1 { b", [" } else { b"[" });
                json::write_str(&mut listing, &typed::text(name));
                listing.extend_from_slice(b", ");
                json::write_str(&mut listing, &typed::text(prefix));
                listing.extend_from_slice(if member { b", true]" } else { b", false]" });
                true
            });
        }
        listing.push(b']');
        self.meter.lists_cut += u64::from(cut);
        Ok(listing)
    }
}
