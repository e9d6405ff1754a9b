#include "server/config.h"

#include <charconv>
#include <fstream>
#include <sstream>

#include "codec/utf8.h"
#include "server/config_toml.h"
#include "server/redis_url.h"
#include "server/proxy.h"

namespace starling::server {
namespace {

// What no TOML document holds (TOML 1.0: UTF-8, of control characters only tab and line ends). The
// library is not asked about it: its assertions, not its errors, meet some of these.
std::optional<std::string> find_no_text(std::string_view text) {
    if (!codec::valid_utf8(text)) { return " is not UTF-8"; }
    std::size_t line = 1;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte == '\n') { ++line; }
        const bool line_end = byte == '\n' || (byte == '\r' && text.substr(i + 1).starts_with('\n'));
        if ((byte < 0x20 && byte != '\t' && !line_end) || byte == 0x7f) {
            return std::to_string(line) + ": a control character";
        }
    }
    return std::nullopt;
}

// Where the library gave up without saying the place: the first line with which it gives up.
std::size_t broken_line(std::string_view text) {
    std::size_t line = 0;
    for (std::size_t end = 0; end < text.size(); ) {
        end = std::min(text.find('\n', end), text.size() - 1) + 1;
        ++line;
        try {
            (void)toml::parse(text.substr(0, end));
        } catch (const toml::parse_error&) {
            continue;
        } catch (const TomlAssertion&) {
            break;
        }
    }
    return line;
}

// A word of the environment or the command line, as the key's type takes it.
std::expected<void, std::string> set_from_text(const ConfigTarget& target, const ConfigKey& key, std::string_view text) {
    const char* const end = text.data() + text.size();
    const std::string range = " from " + std::to_string(key.min) + " to " + std::to_string(key.max);
    if (auto* const* string = std::get_if<std::string*>(&target)) {
        **string = text;
    } else if (auto* const* integer = std::get_if<std::int64_t*>(&target)) {
        std::int64_t value = 0;
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error != std::errc() || rest != end || value < key.min || value > key.max) {
            return std::unexpected("must be an integer" + range);
        }
        **integer = value;
    } else if (auto* const* number = std::get_if<double*>(&target)) {
        double value = 0;
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error != std::errc() || rest != end || !(value >= static_cast<double>(key.min) && value <= static_cast<double>(key.max))) {
            return std::unexpected("must be a number" + range);
        }
        **number = value;
    } else if (auto* const* flag = std::get_if<bool*>(&target)) {
        if (text != "true" && text != "false") { return std::unexpected("must be true or false"); }
        **flag = text == "true";
    } else {
        auto& list = *std::get<std::vector<std::string>*>(target);
        list.clear();
        while (!text.empty()) {
            const std::size_t comma = std::min(text.find(','), text.size());
            if (comma > 0) { list.emplace_back(text.substr(0, comma)); }
            text.remove_prefix(std::min(comma + 1, text.size()));
        }
    }
    return {};
}

// Reads the table under `prefix` and the tables within it: every key of the table of keys that begins so.
void read_section(const toml::table& table, std::string_view prefix, std::string_view origin, Config& config, ConfigErrors& errors) {
    TableReader reader(table, std::string(prefix), origin, errors);
    std::string_view last_group;
    for (const ConfigKey& key : config_keys()) {
        std::string_view rest = key.path;
        if (!prefix.empty()) {
            if (!rest.starts_with(prefix) || rest[prefix.size()] != '.') { continue; }
            rest.remove_prefix(prefix.size() + 1);
        }
        const std::size_t dot = rest.find('.');
        if (dot == std::string_view::npos) {
            const ConfigTarget target = key.at(config);
            std::visit([&](auto* out) {
                if constexpr (requires { reader.read(rest, *out, key.min, key.max); }) {
                    reader.read(rest, *out, key.min, key.max);
                } else {
                    reader.read(rest, *out);
                }
            }, target);
            continue;
        }
        const std::string_view group = rest.substr(0, dot);
        if (group == last_group) { continue; }
        last_group = group;
        if (const toml::table* inner = reader.table(group)) {
            read_section(*inner, key.path.substr(0, key.path.size() - rest.size() + dot), origin, config, errors);
        }
    }
    if (prefix.empty()) { config.apps = read_apps(reader, origin, errors); }
    reader.refuse_unknown();
}

void read_environment(const Named& environment, Config& config, ConfigErrors& errors) {
    std::vector<std::string> names;
    for (const ConfigKey& key : config_keys()) { names.push_back(environment_name(key.path)); }
    const std::vector<std::string_view> views(names.begin(), names.end());
    for (const auto& [name, value] : environment) {
        const auto found = std::ranges::find(names, name);
        if (found != names.end()) {
            const ConfigKey& key = config_keys()[static_cast<std::size_t>(found - names.begin())];
            if (auto set = set_from_text(key.at(config), key, value); !set) { errors.push_back(name + ": " + set.error()); }
            continue;
        }
        // A slip in one of our own sections; STARLING_ANYTHING else may be somebody else's.
        const bool ours = std::ranges::any_of(names, [&](const std::string& known) {
            return name.starts_with(std::string_view(known).substr(0, known.find('_', 9) + 1));
        });
        if (ours) {
            const auto hint = nearest(name, views);
            errors.push_back(name + ": unknown key" + (hint.empty() ? std::string() : ", did you mean " + std::string(hint) + "?"));
        }
    }
}

void read_flags(const Named& flags, Config& config, ConfigErrors& errors) {
    std::vector<std::string_view> paths;
    for (const ConfigKey& key : config_keys()) { paths.push_back(key.path); }
    for (const auto& [name, value] : flags) {
        const auto found = std::ranges::find(paths, name);
        if (found == paths.end()) {
            const auto hint = nearest(name, paths);
            errors.push_back("--" + name + ": unknown key" + (hint.empty() ? std::string() : ", did you mean --" + std::string(hint) + "?"));
            continue;
        }
        const ConfigKey& key = config_keys()[static_cast<std::size_t>(found - paths.begin())];
        if (auto set = set_from_text(key.at(config), key, value); !set) { errors.push_back("--" + name + ": " + set.error()); }
    }
}

// protocol.md section 9: user names on trust, API key `dev`, a default namespace that allows everything.
void apply_development(Config& config) {
    config.development = true;
    auto app = std::ranges::find(config.apps, "default", &AppConfig::id);
    if (app == config.apps.end()) { app = config.apps.insert(config.apps.begin(), AppConfig{}); }
    const bool taken = std::ranges::any_of(config.apps, [](const AppConfig& other) {
        return std::ranges::find(other.api_keys, "dev") != other.api_keys.end();
    });
    if (!taken) { app->api_keys.emplace_back("dev"); }
    for (AppConfig& each : config.apps) {
        if (std::ranges::find(each.namespaces, "", &domain::NamespaceSettings::name) != each.namespaces.end()) { continue; }
        each.namespaces.push_back({.allow = domain::kAllRights, .history_size = 100, .history_ttl = 3600s});
    }
}

// What no single key shows.
void check_together(const Config& config, ConfigErrors& errors) {
    for (const ConfigKey& key : config_keys()) {
        if (key.choices.empty()) { continue; }
        const std::string& value = *std::get<std::string*>(key.at(const_cast<Config&>(config)));
        const std::string wrapped = "|" + std::string(key.choices) + "|";
        if (value.find('|') != std::string::npos || wrapped.find("|" + value + "|") == std::string::npos) {
            errors.push_back(std::string(key.path) + ": \"" + value + "\" is none of " + std::string(key.choices));
        }
    }
    if (auto endpoint = parse_endpoint(config.server.listen); !endpoint) { errors.push_back("server.listen: " + endpoint.error()); }
    if (auto endpoint = parse_endpoint(config.server.admin); !endpoint) { errors.push_back("server.admin: " + endpoint.error()); }
    if (config.server.certificate.empty() != config.server.certificate_key.empty()) {
        errors.emplace_back("server.tls: certificate and key are given together or not at all");
    }
    // A node must not be declared dead while its users' presence still lingers elsewhere.
    const double lease = 0.9 * static_cast<double>(config.cluster.lease_ms);
    const double least = 1.1 * static_cast<double>(config.presence.linger_ms) + 2.0 * static_cast<double>(config.cluster.heartbeat_ms);
    if (lease < least) {
        errors.emplace_back("cluster.lease_ms: 0.9 of it must be at least 1.1 presence.linger_ms + 2 cluster.heartbeat_ms");
    }
    if (config.engine.type == "redis") {
        if (auto redis = parse_redis_url(config.redis.url); !redis) { errors.push_back(redis.error()); }
    }
    if (config.redis.prefix.empty() || config.redis.prefix.find_first_of("{}") != std::string::npos) {
        errors.emplace_back("redis.prefix: must not be empty and has no braces, which say where a key lies in a cluster");
    }
    if (!config.auth.resume_secret.empty() && config.auth.resume_secret.size() < 32) {
        errors.emplace_back("auth.resume_secret: must be at least 32 bytes");
    }
    for (const std::string& proxy : config.server.trusted_proxies) {
        if (!valid_network(proxy)) { errors.push_back("server.trusted_proxies: \"" + proxy + "\" must be an address or a network (10.0.0.0/8)"); }
    }
    for (const std::string& origin : config.server.allowed_origins) {
        const std::size_t scheme = origin.find("://");
        if (origin != "*" && (scheme == std::string::npos || origin.find('/', scheme + 3) != std::string::npos)) {
            errors.push_back("server.allowed_origins: \"" + origin + "\" must be scheme://host or scheme://host:port");
        }
    }
}

}  // namespace

std::expected<Config, ConfigErrors> parse_config(std::string_view text, std::string_view origin, const ConfigSources& sources) {
    Config config;
    ConfigErrors errors;
    if (const auto no_text = find_no_text(text)) {
        errors.push_back(std::string(origin) + ":" + *no_text);
        text = {};
    }
    try {
        const toml::table table = toml::parse(text, origin);
        read_section(table, {}, origin, config, errors);
    } catch (const toml::parse_error& error) {
        errors.push_back(std::string(origin) + ":" + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
    } catch (const TomlAssertion&) {
        errors.push_back(std::string(origin) + ":" + std::to_string(broken_line(text)) + ": is not TOML");
    }
    read_environment(sources.environment, config, errors);
    read_flags(sources.flags, config, errors);
    if (sources.development) { apply_development(config); }
    if (config.limits.recover_bytes == 0) { config.limits.recover_bytes = 4 * config.limits.queue_bytes; }
    if (errors.empty()) { check_together(config, errors); }
    if (!errors.empty()) { return std::unexpected(std::move(errors)); }
    return config;
}

std::expected<Config, ConfigErrors> load_config(const ConfigSources& sources) {
    if (sources.file.empty()) { return parse_config({}, "configuration", sources); }
    std::ifstream file(sources.file, std::ios::binary);
    std::ostringstream content;
    if (file && file.peek() != std::ifstream::traits_type::eof()) { content << file.rdbuf(); }
    if (!file.is_open() || file.bad()) { return std::unexpected(ConfigErrors{sources.file + ": cannot be read"}); }
    return parse_config(content.view(), sources.file, sources);
}

Named environment_of(const char* const* variables) {
    Named out;
    for (; variables != nullptr && *variables != nullptr; ++variables) {
        const std::string_view entry = *variables;
        const std::size_t equals = entry.find('=');
        if (entry.starts_with("STARLING_") && equals != std::string_view::npos) {
            out.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
        }
    }
    return out;
}

std::expected<Endpoint, std::string> parse_endpoint(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    Endpoint endpoint;
    if (colon == std::string_view::npos) { return std::unexpected("must be host:port"); }
    const std::string_view port = text.substr(colon + 1);
    const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (port.empty() || error != std::errc() || rest != port.data() + port.size()) {
        return std::unexpected("must be host:port with a port from 0 to 65535");
    }
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) { host = host.substr(1, host.size() - 2); }
    endpoint.host = host.empty() ? "0.0.0.0" : std::string(host);
    return endpoint;
}

}  // namespace starling::server
