#include <fstream>
#include <set>
#include <sstream>

#include "server/config_toml.h"

namespace starling::server {
namespace {

bool plain(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// One of the two; the file is read once, here, so that what follows sees only the secret.
void resolve_file(TableReader& reader, std::string_view key, std::string& value, std::string_view file_key, const std::string& file) {
    if (file.empty()) { return; }
    if (!value.empty()) {
        reader.fail(file_key, "is given together with " + std::string(key) + ": take one");
        return;
    }
    auto content = read_secret_file(file);
    if (!content) {
        reader.fail(file_key, content.error());
        return;
    }
    value = std::move(*content);
}

void read_token_key(const toml::table& table, const std::string& path, std::string_view origin, ConfigErrors& errors, TokenKeyConfig& key) {
    TableReader reader(table, path, origin, errors);
    reader.read("algorithm", key.algorithm);
    reader.read("kid", key.kid);
    reader.read("secret", key.secret);
    reader.read("secret_file", key.secret_file);
    reader.read("public_key", key.public_key);
    reader.read("public_key_file", key.public_key_file);
    reader.read("jwks", key.jwks);
    reader.read("audience", key.audience);
    reader.read("issuer", key.issuer);
    reader.read("require_exp", key.require_exp);
    reader.refuse_unknown();
    resolve_file(reader, "secret", key.secret, "secret_file", key.secret_file);
    resolve_file(reader, "public_key", key.public_key, "public_key_file", key.public_key_file);

    const bool hmac = key.algorithm.starts_with("HS");
    const int sources = (key.secret.empty() ? 0 : 1) + (key.public_key.empty() ? 0 : 1) + (key.jwks.empty() ? 0 : 1);
    static constexpr std::string_view kAlgorithms[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
                                                       "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"};
    if (key.algorithm.empty()) {
        reader.fail("algorithm", "is missing, for example \"HS256\"");
    } else if (std::ranges::find(kAlgorithms, key.algorithm) == std::end(kAlgorithms)) {
        const auto hint = nearest(key.algorithm, kAlgorithms);
        reader.fail("algorithm", "is none that is known" + (hint.empty() ? std::string() : ", did you mean " + std::string(hint) + "?"));
    } else if (sources != 1) {
        reader.fail(hmac ? "secret" : "public_key", hmac ? "give one of secret, secret_file" : "give one of public_key, public_key_file, jwks");
    } else if (hmac && key.secret.empty()) {
        reader.fail("secret", key.algorithm + " wants a secret, not a public key");
    } else if (!hmac && !key.secret.empty()) {
        reader.fail("secret", key.algorithm + " wants a public key, not a secret");
    } else if (hmac && key.secret.size() < 32) {
        // RFC 7518 §3.2: a key of at least the size of the hash's output; 32 bytes is the floor for all three.
        reader.fail("secret", "must be at least 32 bytes, it has " + std::to_string(key.secret.size()));
    }
    if (key.jwks.starts_with("http://")) { reader.fail("jwks", "must be a path or an https address"); }
}

void read_namespace(const toml::table& table, const std::string& path, std::string_view origin, ConfigErrors& errors,
                    domain::NamespaceSettings& space) {
    TableReader reader(table, path, origin, errors);
    std::vector<std::string> allow;
    std::string slow_consumer = "disconnect";
    std::int64_t conflate_ms = 0;
    reader.read("name", space.name);
    reader.read("allow", allow);
    reader.read("slow_consumer", slow_consumer);
    reader.read("conflate_ms", conflate_ms, 0, 3'600'000);
    reader.read("authorize_url", space.authorize_url);
    if (const toml::table* history = reader.table("history")) {
        TableReader inner(*history, reader.join("history"), origin, errors);
        std::int64_t size = 0;
        std::int64_t ttl_s = 86400;
        inner.read("size", size, 1, 1'000'000);
        inner.read("ttl_s", ttl_s, 1, 10 * 366 * std::int64_t{86400});
        inner.refuse_unknown();
        if (!inner.has("size")) { inner.fail("size", "is missing"); }
        space.history_size = static_cast<std::uint32_t>(size);
        space.history_ttl = std::chrono::seconds(ttl_s);
    }
    reader.refuse_unknown();

    for (const std::string& text : allow) {
        static constexpr std::pair<std::string_view, domain::Right> kRightNames[] = {
            {"subscribe", domain::Right::subscribe}, {"publish", domain::Right::publish}, {"presence", domain::Right::presence},
            {"typing", domain::Right::typing},       {"history", domain::Right::history}};
        const auto* found = std::ranges::find(kRightNames, text, [](const auto& right) { return right.first; });
        if (found == std::end(kRightNames)) {
            reader.fail("allow", "\"" + text + "\" is none of subscribe, publish, presence, typing, history");
        } else {
            space.allow |= static_cast<domain::Rights>(found->second);
        }
    }
    if (slow_consumer == "latest") {
        space.slow_consumer = domain::SlowConsumer::latest;
    } else if (slow_consumer != "disconnect") {
        reader.fail("slow_consumer", "must be \"disconnect\" or \"latest\"");
    }
    space.conflate = std::chrono::milliseconds(conflate_ms);
    if (conflate_ms > 0 && space.history_size > 0) {
        reader.fail("conflate_ms", "a namespace has either history or conflate_ms, not both");
    }
    if (space.name.find(':') != std::string::npos || !plain(space.name) || space.name.starts_with('@') || space.name.starts_with('$')) {
        reader.fail("name", "must be without colon and control characters and not begin with @ or $");
    }
    if (!space.authorize_url.empty() && !space.authorize_url.starts_with("https://") && !space.authorize_url.starts_with("http://")) {
        reader.fail("authorize_url", "must begin with https:// or http://");
    }
}

AppConfig read_app(const toml::table& table, const std::string& path, std::string_view origin, ConfigErrors& errors) {
    AppConfig app;
    app.id.clear();
    TableReader reader(table, path, origin, errors);
    reader.read("id", app.id);
    reader.read("key", app.key);
    reader.read("secret", app.secret);
    reader.read("secret_file", app.secret_file);
    reader.read("api_keys", app.api_keys);
    const auto keys = reader.tables("token_keys");
    const auto namespaces = reader.tables("namespaces");
    reader.refuse_unknown();
    resolve_file(reader, "secret", app.secret, "secret_file", app.secret_file);
    if (app.id.empty() || !plain(app.id)) { reader.fail("id", "is missing or has control characters"); }
    if (std::ranges::any_of(app.api_keys, [](const auto& key) { return key.empty(); })) {
        reader.fail("api_keys", "an API key must not be empty");
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        read_token_key(*keys[i], reader.join("token_keys[" + std::to_string(i) + "]"), origin, errors, app.token_keys.emplace_back());
    }
    std::set<std::string> names;
    for (std::size_t i = 0; i < namespaces.size(); ++i) {
        const std::string place = "namespaces[" + std::to_string(i) + "]";
        auto& space = app.namespaces.emplace_back();
        read_namespace(*namespaces[i], reader.join(place), origin, errors, space);
        if (!names.insert(space.name).second) {
            reader.fail(place, "a namespace of this app is called \"" + space.name + "\" already");
        }
    }
    return app;
}

}  // namespace

std::vector<AppConfig> read_apps(TableReader& root, std::string_view origin, ConfigErrors& errors) {
    std::vector<AppConfig> apps;
    std::set<std::string> ids;
    std::set<std::string> keys;
    const auto tables = root.tables("apps");
    for (std::size_t i = 0; i < tables.size(); ++i) {
        const std::string place = "apps[" + std::to_string(i) + "]";
        const AppConfig& app = apps.emplace_back(read_app(*tables[i], place, origin, errors));
        if (!ids.insert(app.id).second) { root.fail(place, "an app is called \"" + app.id + "\" already"); }
        // An API key and a Pusher key name the app that they belong to, so each belongs to one.
        for (const std::string& key : app.api_keys) {
            if (!keys.insert("api " + key).second) { root.fail(place, "an API key of it is another's already"); }
        }
        if (!app.key.empty() && !keys.insert("app " + app.key).second) { root.fail(place, "its key is another app's already"); }
    }
    return apps;
}

std::expected<std::string, std::string> read_secret_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    if (!file || !(content << file.rdbuf())) { return std::unexpected("cannot read " + path); }
    std::string secret = std::move(content).str();
    if (secret.ends_with('\n')) { secret.pop_back(); }
    if (secret.empty()) { return std::unexpected(path + " is empty"); }
    return secret;
}

void keep_places(const std::vector<AppConfig>& running, std::vector<AppConfig>& apps) {
    std::vector<AppConfig> placed;
    for (const AppConfig& old : running) {
        const auto found = std::ranges::find(apps, old.id, &AppConfig::id);
        if (found == apps.end()) {
            AppConfig& gone = placed.emplace_back();
            gone.id = old.id;
            gone.removed = true;
        } else {
            placed.push_back(std::move(*found));
            apps.erase(found);
        }
    }
    std::ranges::move(apps, std::back_inserter(placed));
    apps = std::move(placed);
}

}  // namespace starling::server
