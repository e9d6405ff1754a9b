#include "server/config_keys.h"

namespace starling::server {
namespace {

constexpr std::string_view kHidden = "(hidden)";

std::string toml_quoted(std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\u00";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string toml_quoted(const std::vector<std::string>& list) {
    std::string out = "[";
    for (const std::string& item : list) { out += (out.size() > 1 ? ", " : "") + toml_quoted(item); }
    return out + "]";
}

// An address keeps what is not secret: "redis://(hidden)@host"; any other secret is hidden whole.
std::string hide(const std::string& secret) {
    const std::size_t scheme = secret.find("://");
    if (secret.empty() || scheme == std::string::npos) { return secret.empty() ? secret : std::string(kHidden); }
    const std::size_t at = secret.rfind('@');
    if (at == std::string::npos) { return secret; }
    return secret.substr(0, scheme + 3) + std::string(kHidden) + secret.substr(at);
}

std::string value_of(const ConfigKey& key, Config& config) {
    const ConfigTarget target = key.at(config);
    if (const auto* text = std::get_if<std::string*>(&target)) { return toml_quoted(key.secret ? hide(**text) : **text); }
    if (const auto* number = std::get_if<std::int64_t*>(&target)) { return std::to_string(**number); }
    if (const auto* flag = std::get_if<bool*>(&target)) { return **flag ? "true" : "false"; }
    if (const auto* list = std::get_if<std::vector<std::string>*>(&target)) { return toml_quoted(**list); }
    std::string out = std::to_string(**std::get_if<double*>(&target));
    out.erase(out.find_last_not_of('0') + 1);
    return out.ends_with('.') ? out + '0' : out;
}

enum class Help { shown, left_out };

std::string print_keys(Config& config, Help help) {
    std::string out;
    std::string_view section;
    for (const ConfigKey& key : config_keys()) {
        const std::size_t dot = key.path.find('.');
        if (key.path.substr(0, dot) != section) {
            section = key.path.substr(0, dot);
            out += (out.empty() ? "[" : "\n[") + std::string(section) + "]\n";
        }
        const std::string name(key.path.substr(dot + 1));   // "drain.delay_ms": a dotted key says a table too.
        std::string line = name + " = " + value_of(key, config);
        if (help == Help::shown) {
            // Not given means something else than any value that could be given.
            if (key.path == "limits.recover_bytes" || key.path == "auth.resume_secret") { line = "# " + name + " ="; }
            line += std::string(line.size() < 44 ? 44 - line.size() : 1, ' ') + "# " + std::string(key.help);
            if (!key.choices.empty()) { line += " (" + std::string(key.choices) + ")"; }
        }
        out += line + "\n";
    }
    return out;
}

void field(std::string& out, std::string_view indent, std::string_view name, const std::string& value) {
    if (value != "\"\"" && value != "[]") { out += std::string(indent) + std::string(name) + " = " + value + "\n"; }
}

std::string hidden(const std::string& secret, const std::string& file) {
    return secret.empty() || !file.empty() ? "\"\"" : toml_quoted(kHidden);
}

void print_namespace(std::string& out, const domain::NamespaceSettings& space) {
    static constexpr std::string_view kNames[] = {"subscribe", "publish", "presence", "typing", "history"};
    std::vector<std::string> allow;
    for (std::size_t bit = 0; bit < std::size(kNames); ++bit) {
        if ((space.allow & (1U << bit)) != 0) { allow.emplace_back(kNames[bit]); }
    }
    out += "  [[apps.namespaces]]\n  name = " + toml_quoted(space.name) + "\n  allow = " + toml_quoted(allow) + "\n";
    if (space.history_size > 0) {
        out += "  history = { size = " + std::to_string(space.history_size) +
               ", ttl_s = " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(space.history_ttl).count()) + " }\n";
    }
    out += std::string("  slow_consumer = ") + (space.slow_consumer == domain::SlowConsumer::latest ? "\"latest\"" : "\"disconnect\"") + "\n";
    out += "  conflate_ms = " + std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(space.conflate).count()) + "\n";
    field(out, "  ", "authorize_url", toml_quoted(space.authorize_url));
}

void print_app(std::string& out, const AppConfig& app) {
    out += "\n[[apps]]\nid = " + toml_quoted(app.id) + "\n";
    field(out, "", "key", toml_quoted(app.key));
    field(out, "", "secret", hidden(app.secret, app.secret_file));
    field(out, "", "secret_file", toml_quoted(app.secret_file));
    field(out, "", "api_keys", toml_quoted(std::vector<std::string>(app.api_keys.size(), std::string(kHidden))));
    for (const TokenKeyConfig& key : app.token_keys) {
        out += "  [[apps.token_keys]]\n  algorithm = " + toml_quoted(key.algorithm) + "\n";
        field(out, "  ", "kid", toml_quoted(key.kid));
        field(out, "  ", "secret", hidden(key.secret, key.secret_file));
        field(out, "  ", "secret_file", toml_quoted(key.secret_file));
        field(out, "  ", "public_key", key.public_key_file.empty() ? toml_quoted(key.public_key) : "\"\"");
        field(out, "  ", "public_key_file", toml_quoted(key.public_key_file));
        field(out, "  ", "jwks", toml_quoted(key.jwks));
        field(out, "  ", "audience", toml_quoted(key.audience));
        field(out, "  ", "issuer", toml_quoted(key.issuer));
        if (key.require_exp) { out += "  require_exp = true\n"; }
    }
    for (const auto& space : app.namespaces) { print_namespace(out, space); }
}

}  // namespace

std::string print_config(const Config& config) {
    Config copy = config;
    std::string out = print_keys(copy, Help::left_out);
    for (const AppConfig& app : config.apps) { print_app(out, app); }
    return out;
}

std::string print_default_config() {
    Config config;
    return print_keys(config, Help::shown) + R"(
# One app or several. The one called "default" needs no naming by clients.
# [[apps]]
# id = "default"
# key = ""                                  # the Pusher key
# secret = ""                               # or secret_file
# api_keys = []                             # of the backend HTTP API
#   [[apps.token_keys]]
#   algorithm = "HS256"                     # or RS256, PS256, ES256, EdDSA with public_key, public_key_file or jwks
#   secret_file = "/etc/starling/token.key" # or secret; at least 32 bytes
#   audience = ""                           # and issuer: checked where given
#   require_exp = false
#   [[apps.namespaces]]
#   name = ""                               # "" is the default namespace
#   allow = ["subscribe", "presence"]       # to every user: subscribe, publish, presence, typing, history
#   history = { size = 100, ttl_s = 86400 } # left out: none
#   slow_consumer = "disconnect"            # or latest
#   conflate_ms = 0                         # instead of history
#   authorize_url = ""                      # asked where neither allow nor the token grants
)";
}

}  // namespace starling::server
