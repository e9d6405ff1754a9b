#include "domain/permissions.h"

#include <algorithm>

namespace starling::domain {

Rights parse_rights(const std::vector<std::string>& names) {
    Rights rights = 0;
    for (const std::string& name : names) {
        if (const auto right = parse_right(name)) { rights |= static_cast<Rights>(*right); }
    }
    return rights;
}

Grants::Grants(const codec::jwt::Claims& claims) {
    auto table = std::make_unique<Table>();
    for (const auto& [pattern, names] : claims.can) {
        const Rights rights = parse_rights(names);
        if (rights == 0) { continue; }
        if (pattern.ends_with('*')) {
            table->prefixes.push_back({pattern.substr(0, pattern.size() - 1), rights});
        } else {
            table->exact.push_back({pattern, rights});
        }
    }
    for (const std::string& channel : claims.channels) {
        table->exact.push_back({channel, static_cast<Rights>(Right::subscribe)});
    }
    if (table->exact.empty() && table->prefixes.empty()) { return; }

    std::ranges::sort(table->exact, {}, &Entry::name);
    std::vector<Entry> merged;
    for (Entry& entry : table->exact) {
        if (!merged.empty() && merged.back().name == entry.name) {
            merged.back().rights |= entry.rights;
        } else {
            merged.push_back(std::move(entry));
        }
    }
    merged.shrink_to_fit();
    table->prefixes.shrink_to_fit();
    table->exact = std::move(merged);
    table_ = std::move(table);
}

Rights Grants::rights(std::string_view channel) const {
    if (table_ == nullptr) { return 0; }
    Rights rights = 0;
    const auto by_name = [](const Entry& entry) { return std::string_view(entry.name); };
    const auto found = std::ranges::lower_bound(table_->exact, channel, {}, by_name);
    if (found != table_->exact.end() && found->name == channel) { rights = found->rights; }
    for (const Entry& prefix : table_->prefixes) {
        if (channel.starts_with(prefix.name)) { rights |= prefix.rights; }
    }
    return rights;
}

Rights effective(const NamespaceSettings& space, const Grants& grants, Rights channel_token_rights,
                 std::string_view channel) {
    if (channel.starts_with('#')) { return 0; }
    const bool guarded = channel.starts_with("private-") || channel.starts_with("presence-");
    const Rights granted = grants.rights(channel) | channel_token_rights;
    return guarded ? granted : static_cast<Rights>(granted | space.allow);
}

}  // namespace starling::domain
