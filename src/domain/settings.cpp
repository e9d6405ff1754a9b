#include "domain/settings.h"

#include <algorithm>

namespace starling::domain {

std::optional<Right> parse_right(std::string_view text) {
    if (text == "subscribe") { return Right::subscribe; }
    if (text == "publish") { return Right::publish; }
    if (text == "presence") { return Right::presence; }
    if (text == "typing") { return Right::typing; }
    if (text == "history") { return Right::history; }
    return std::nullopt;
}

// protocol.md section 2: the part before the first ':' names the namespace; one that is not
// configured follows the default namespace. Names are compared byte for byte.
const NamespaceSettings& AppSettings::find_namespace(std::string_view channel) const {
    static const NamespaceSettings kNothingAllowed;
    const std::size_t colon = channel.find(':');
    const std::string_view wanted = colon == std::string_view::npos ? std::string_view{} : channel.substr(0, colon);
    const NamespaceSettings* fallback = &kNothingAllowed;
    for (const NamespaceSettings& candidate : namespaces) {
        if (candidate.name == wanted) { return candidate; }
        if (candidate.name.empty()) { fallback = &candidate; }
    }
    return *fallback;
}

std::optional<std::size_t> Settings::find_app(std::string_view id) const {
    const std::string_view wanted = id.empty() ? std::string_view("default") : id;
    const auto found = std::ranges::find(apps, wanted, &AppSettings::id);
    if (found == apps.end() || found->removed) { return std::nullopt; }
    return static_cast<std::size_t>(found - apps.begin());
}

}  // namespace starling::domain
