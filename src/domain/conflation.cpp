#include "domain/conflation.h"

#include <algorithm>

namespace starling::domain {

void Conflation::on_publish(Item item, Duration window, Instant now, std::vector<Item>& out) {
    if (!kept_) { kept_ = std::make_unique<Kept>(); }
    auto& [entries, order, writes] = *kept_;
    const std::string key = item.message.conflate_key.value_or("");
    auto it = entries.find(key);
    if (it == entries.end()) {
        if (entries.size() >= kKeysMax) {
            const auto oldest = entries.find(order.begin()->second);
            // What still waits is sent early rather than lost.
            if (oldest->second.pending) { out.push_back(oldest->second.latest); }
            entries.erase(oldest);
            order.erase(order.begin());
        }
        it = entries.emplace(key, Entry{}).first;
    } else {
        order.erase(it->second.written);
    }
    Entry& entry = it->second;
    entry.written = ++writes;
    order.emplace(entry.written, key);
    entry.latest = std::move(item);
    if (now >= entry.window_ends) {
        out.push_back(entry.latest);
        entry.window_ends = now + window;
        entry.pending = false;
    } else {
        entry.pending = true;
    }
}

std::vector<Message> Conflation::latest() const {
    std::vector<Message> out;
    if (!kept_) { return out; }
    for (const auto& [written, key] : kept_->order) { out.push_back(kept_->entries.find(key)->second.latest.message); }
    return out;
}

std::optional<Instant> Conflation::next_deadline() const {
    std::optional<Instant> first;
    if (!kept_) { return first; }
    for (const auto& [key, entry] : kept_->entries) {
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
