#include "domain/typing.h"

#include <algorithm>

namespace starling::domain {

bool Typing::on_start(std::string_view user, std::optional<SessionRef> by, Duration timeout, Instant now,
                      std::vector<TypingChange>& out) {
    const auto [it, fresh] = entries_.need().try_emplace(std::string(user));
    Entry& entry = it->second;
    entry.ends = now + timeout;
    entry.by = by;
    if (fresh) { out.push_back({it->first, true}); }
    if (!fresh && entry.passed_on != Instant{} && now < entry.passed_on + kPassOnEvery) { return false; }
    entry.passed_on = now;
    return true;
}

void Typing::on_heard(std::string_view user, Duration timeout, Instant now, std::vector<TypingChange>& out) {
    const auto [it, fresh] = entries_.need().try_emplace(std::string(user));
    it->second = {now + timeout, {}, {}};
    if (fresh) { out.push_back({it->first, true}); }
}

void Typing::on_stop(std::string_view user, std::vector<TypingChange>& out) {
    if (!entries_) { return; }
    const auto it = entries_->find(user);
    if (it == entries_->end()) { return; }
    out.push_back({it->first, false});
    entries_->erase(it);
    trim();
}

void Typing::on_gone(std::string_view user, SessionRef by, std::vector<TypingChange>& out) {
    const auto it = entries_.peek().find(user);
    if (it != entries_.peek().end() && it->second.by == by) { on_stop(user, out); }
}

std::vector<std::string> Typing::users_except(std::string_view user) const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_.peek()) {
        if (name != user) { out.push_back(name); }
    }
    return out;
}

std::optional<Instant> Typing::next_deadline() const {
    std::optional<Instant> first;
    for (const auto& [name, entry] : entries_.peek()) {
        if (!first || entry.ends < *first) { first = entry.ends; }
    }
    return first;
}

void Typing::on_deadline(Instant now, std::vector<TypingChange>& out) {
    if (!entries_) { return; }
    std::erase_if(*entries_, [&](const auto& entry) {
        if (entry.second.ends > now) { return false; }
        out.push_back({entry.first, false});
        return true;
    });
    trim();
}

}  // namespace starling::domain
