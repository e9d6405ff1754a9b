#include "server/cli_client.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include <curl/curl.h>

#include "codec/json.h"
#include "server/cli_socket.h"
#include "server/cli_token.h"

namespace starling::server {
namespace {

struct EasyDeleter {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

std::string base_url(HttpScheme scheme, Endpoint endpoint) {
    // Any address is a place to listen at, not one to speak to.
    if (endpoint.host == "0.0.0.0") { endpoint.host = "127.0.0.1"; }
    if (endpoint.host == "::") { endpoint.host = "::1"; }
    const bool bracketed = endpoint.host.find(':') != std::string::npos;
    return (scheme == HttpScheme::http ? "http://" : "https://") + (bracketed ? "[" + endpoint.host + "]" : endpoint.host) + ":" +
           std::to_string(endpoint.port);
}

std::expected<std::string, std::string> base_url(const Config& config, const ClientRequest& request) {
    if (!request.url.empty()) {
        const std::string url = request.url.ends_with('/') ? request.url.substr(0, request.url.size() - 1) : request.url;
        return url.find("://") == std::string::npos ? "http://" + url : url;
    }
    const auto endpoint = parse_endpoint(config.server.listen);
    if (!endpoint) { return std::unexpected(endpoint.error()); }
    return base_url(config.server.certificate.empty() ? HttpScheme::http : HttpScheme::https, *endpoint);
}

std::string escape(CURL* easy, const std::string& text) {
    char* escaped = curl_easy_escape(easy, text.data(), static_cast<int>(text.size()));
    std::string out = escaped == nullptr ? "" : escaped;
    curl_free(escaped);
    return out;
}

std::size_t append(char* data, std::size_t, std::size_t size, void* out) {
    static_cast<std::string*>(out)->append(data, size);
    return size;
}

std::string quote(std::string_view text) {
    std::string out;
    codec::json::append_string(out, text);
    return out;
}

const AppConfig* find_app(const Config& config, const std::string& id) {
    const auto found = std::ranges::find(config.apps, id, &AppConfig::id);
    return found == config.apps.end() ? nullptr : &*found;
}

// The `connect` frame of who only listens: a name in development mode, else a token for this channel alone.
std::expected<std::string, std::string> connect_frame(const Config& config, const ClientRequest& request) {
    if (config.development) { return std::string(R"({"type":"connect","user":"starling-tail"})"); }
    MintRequest mint;
    mint.sub = "starling-tail";
    mint.can = {request.channel + "=subscribe"};
    mint.app = request.app;
    auto token = mint_token(config, mint);
    if (!token) { return std::unexpected("tail signs a token of its own: " + token.error()); }
    return R"({"type":"connect","token":)" + quote(*token) + "}";
}

// The text of a string field, empty where there is none.
std::string text_of(const std::vector<codec::json::Field>& fields, std::string_view key) {
    const auto found = std::ranges::find(fields, key, &codec::json::Field::key);
    if (found == fields.end() || found->value.kind != codec::json::Kind::string) { return {}; }
    return codec::json::unescape(found->value.raw).value_or(std::string());
}

}  // namespace

Done publish_message(const Config& config, const ClientRequest& request) {
    const auto base = base_url(config, request);
    if (!base) { return std::unexpected(base.error()); }
    const AppConfig* app = find_app(config, request.app);
    if (app == nullptr || app->api_keys.empty()) { return std::unexpected("the app \"" + request.app + "\" has no API key in this configuration"); }
    if (auto parsed = codec::json::parse(request.data, 128); !parsed) { return std::unexpected("not JSON: " + parsed.error()); }
    const Easy easy(curl_easy_init());
    if (!easy) { return std::unexpected("no HTTP client"); }
    std::string body = "{\"data\":" + request.data + (request.event.empty() ? "" : ",\"event\":" + quote(request.event)) + "}";
    const std::string url = *base + "/v1/channels/" + escape(easy.get(), request.channel) + "/messages";
    curl_slist* headers = curl_slist_append(nullptr, ("Authorization: Bearer " + app->api_keys[0]).c_str());
    headers = curl_slist_append(headers, "Content-Type: application/json");
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> owner(headers, curl_slist_free_all);
    std::string answer;
    curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, 10L);
    curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
    if (const CURLcode code = curl_easy_perform(easy.get()); code != CURLE_OK) {
        return std::unexpected(*base + ": " + curl_easy_strerror(code));
    }
    long status = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) { return std::unexpected(std::to_string(status) + " " + answer); }
    std::printf("%s\n", answer.c_str());
    return {};
}

Done tail_channel(const Config& config, const ClientRequest& request) {
    const auto base = base_url(config, request);
    if (!base) { return std::unexpected(base.error()); }
    const auto connect = connect_frame(config, request);
    if (!connect) { return std::unexpected(connect.error()); }
    const Easy easy(curl_easy_init());
    if (!easy) { return std::unexpected("no HTTP client"); }
    const std::string path = request.app == "default" ? "/v1/ws" : "/v1/ws?app=" + escape(easy.get(), request.app);
    auto socket = ClientSocket::open(*base, path);
    if (!socket) { return std::unexpected(socket.error()); }
    if (auto sent = socket->send_text(*connect); !sent) { return sent; }
    if (auto sent = socket->send_text(R"({"type":"subscribe","id":1,"channel":)" + quote(request.channel) + "}"); !sent) { return sent; }
    for (;;) {
        auto text = socket->next_text();
        if (!text) { return std::unexpected(text.error()); }
        const auto parsed = codec::json::parse(*text, 256);
        if (!parsed) { return std::unexpected("the gateway sent what is not JSON: " + parsed.error()); }
        if (parsed->kind != codec::json::Kind::object) { return std::unexpected("the gateway sent JSON that is no object"); }
        const auto fields = codec::json::fields(*parsed);
        if (!fields) { return std::unexpected("the gateway sent " + fields.error()); }
        const std::string type = text_of(*fields, "type");
        if (type == "error") { return std::unexpected(text_of(*fields, "code") + ": " + text_of(*fields, "message")); }
        if (type == "unsubscribed") { return std::unexpected("unsubscribed: " + text_of(*fields, "code")); }
        if (type == "message") {
            std::printf("%s\n", text->c_str());
            std::fflush(stdout);
        }
    }
}

bool is_alive(HttpScheme scheme, Endpoint endpoint) {
    const Easy easy(curl_easy_init());
    if (!easy) { return false; }
    std::string answer;
    curl_easy_setopt(easy.get(), CURLOPT_URL, (base_url(scheme, std::move(endpoint)) + "/health/live").c_str());
    curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, 2L);
    curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
    // Only asks whether it answers; the certificate's name is the clients' business.
    curl_easy_setopt(easy.get(), CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy.get(), CURLOPT_SSL_VERIFYPEER, 0L);
    long status = 0;
    return curl_easy_perform(easy.get()) == CURLE_OK && curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200;
}

}  // namespace starling::server
