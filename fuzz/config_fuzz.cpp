// The configuration, as far as it goes before anything is started: TOML text, and in its comments
// `#!env NAME=value` and `#!flag name=value`, what the environment and the command line would add.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "server/config.h"
#include "server/config_settings.h"

using namespace starling;

namespace {

void read_comments(std::string_view text, server::ConfigSources& sources) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        server::Named* out = line.starts_with("#!env ") ? &sources.environment : line.starts_with("#!flag ") ? &sources.flags : nullptr;
        if (out == nullptr) { continue; }
        line.remove_prefix(line.find(' ') + 1);
        const std::size_t equals = std::min(line.find('='), line.size());
        out->emplace_back(line.substr(0, equals), line.substr(std::min(equals + 1, line.size())));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const bool development : {false, true}) {
        server::ConfigSources sources;
        sources.development = development;
        read_comments(text, sources);
        const auto config = server::parse_config(text, "fuzz.toml", sources);
        if (!config) {
            // All that is wrong is said, a line each.
            CHECK(!config.error().empty());
            for (const std::string& line : config.error()) { CHECK(!line.empty()); }
            continue;
        }
        (void)server::make_settings(*config, std::string(32, 'r'));
        // What was understood can be written down, and means the same when it is read again.
        const std::string printed = server::print_config(*config);
        if (printed.find("(hidden)") != std::string::npos) { continue; }
        const auto again = server::parse_config(printed, "printed.toml", {});
        CHECK(again.has_value());
        CHECK(server::print_config(*again) == printed);
    }
    return 0;
}
