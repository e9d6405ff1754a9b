#include "domain/conflation.h"

#include "domain/history.h"

namespace starling::domain {

void Conflation::on_publish(Item item, Duration window, std::size_t bytes_max, Instant now, std::vector<Item>& out) {
    Kept& kept = kept_.need();
    kept.last = now;
    const std::string key = item.message.conflate_key.value_or("");
    Entry& entry = kept.entries[key];
    if (entry.written != 0) {
        kept.order.erase(entry.written);
        kept.bytes -= answer_bytes(entry.latest.message);
    }
    entry.written = ++kept.writes;
    kept.order.emplace(entry.written, key);
    entry.latest = std::move(item);
    kept.bytes += answer_bytes(entry.latest.message);
    while (kept.entries.size() > kKeysMax || (kept.bytes > bytes_max && kept.entries.size() > 1)) { kept.forget_oldest(out); }
    if (now >= entry.window_ends) {
        out.push_back(entry.latest);
        entry.window_ends = now + window;
        entry.pending = false;
    } else {
        entry.pending = true;
    }
}

void Conflation::Kept::forget_oldest(std::vector<Item>& out) {
    const auto oldest = entries.find(order.begin()->second);
    bytes -= answer_bytes(oldest->second.latest.message);
    // What still waits is sent early rather than lost.
    if (oldest->second.pending) { out.push_back(std::move(oldest->second.latest)); }
    entries.erase(oldest);
    order.erase(order.begin());
}

std::vector<Message> Conflation::latest() const {
    std::vector<Message> out;
    for (const auto& [written, key] : kept_.peek().order) { out.push_back(kept_->entries.find(key)->second.latest.message); }
    return out;
}

std::optional<Instant> Conflation::next_deadline() const {
    std::optional<Instant> first;
    for (const auto& [key, entry] : kept_.peek().entries) {
        if (entry.pending && (!first || entry.window_ends < *first)) { first = entry.window_ends; }
    }
    return first;
}

void Conflation::on_deadline(Duration window, Instant now, std::vector<Item>& out) {
    if (!kept_) { return; }
    for (const auto& [written, key] : kept_->order) {
        Entry& entry = kept_->entries.find(key)->second;
        if (!entry.pending || entry.window_ends > now) { continue; }
        out.push_back(entry.latest);
        entry.pending = false;
        entry.window_ends = now + window;
    }
}

}  // namespace starling::domain
