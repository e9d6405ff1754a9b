#include "domain/conflation.h"

#include <algorithm>

namespace starling::domain {

void Conflation::on_publish(Item item, Duration window, Instant now, std::vector<Item>& out) {
    const std::string key = item.message.conflate_key.value_or("");
    auto it = entries_.find(key);
    if (it == entries_.end()) {
        if (entries_.size() >= kKeysMax) {
            const auto oldest = entries_.find(order_.begin()->second);
            // What still waits is sent early rather than lost.
            if (oldest->second.pending) { out.push_back(oldest->second.latest); }
            entries_.erase(oldest);
            order_.erase(order_.begin());
        }
        it = entries_.emplace(key, Entry{}).first;
    } else {
        order_.erase(it->second.written);
    }
    Entry& entry = it->second;
    entry.written = ++writes_;
    order_.emplace(entry.written, key);
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
    for (const auto& [written, key] : order_) { out.push_back(entries_.find(key)->second.latest.message); }
    return out;
}

std::optional<Instant> Conflation::next_deadline() const {
    std::optional<Instant> first;
    for (const auto& [key, entry] : entries_) {
        if (entry.pending && (!first || entry.window_ends < *first)) { first = entry.window_ends; }
    }
    return first;
}

void Conflation::on_deadline(Duration window, Instant now, std::vector<Item>& out) {
    for (const auto& [written, key] : order_) {
        Entry& entry = entries_.find(key)->second;
        if (!entry.pending || entry.window_ends > now) { continue; }
        out.push_back(entry.latest);
        entry.pending = false;
        entry.window_ends = now + window;
    }
}

}  // namespace starling::domain
