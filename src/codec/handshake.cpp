#include "codec/handshake.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <vector>

namespace starling::codec::websocket {
namespace {

constexpr std::size_t kKeyChars = 24;  // Sixteen bytes in base64.

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_space(char c) { return c == ' ' || c == '\t'; }

// RFC 9110 §5.6.2.
bool is_token_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && is_space(text.front())) { text.remove_prefix(1); }
    while (!text.empty() && is_space(text.back())) { text.remove_suffix(1); }
    return text;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

// Takes the text before the first `separator`, or all of it; every byte is looked at once.
std::string_view take_part(std::string_view& text, char separator) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return trim(part);
}

// All values of a header; a list may be spread over several lines.
std::vector<std::string_view> values(const HandshakeRequest& request, std::string_view name) {
    std::vector<std::string_view> found;
    for (const auto& [key, value] : request.headers) {
        if (equal_ignoring_case(key, name)) { found.push_back(trim(value)); }
    }
    return found;
}

bool lists_token(const HandshakeRequest& request, std::string_view name, std::string_view token) {
    for (std::string_view value : values(request, name)) {
        while (!value.empty()) {
            if (equal_ignoring_case(take_part(value, ','), token)) { return true; }
        }
    }
    return false;
}

bool valid_key(std::string_view key) {
    if (key.size() != kKeyChars || !key.ends_with("==")) { return false; }
    return std::ranges::all_of(key.substr(0, kKeyChars - 2), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '+' || c == '/';
    });
}

HandshakeError refuse(int status, std::string_view message) {
    const std::string_view phrase =
        status == 405 ? "Method Not Allowed" : status == 426 ? "Upgrade Required" : "Bad Request";
    // The messages are our own and need no escaping.
    const std::string body =
        std::string(R"({"error":{"code":"bad_request","message":")").append(message).append("\"}}");
    std::string response = "HTTP/1.1 " + std::to_string(status) + " ";
    response.append(phrase).append("\r\nConnection: close");
    if (status == 405) { response += "\r\nAllow: GET"; }
    if (status == 426) { response += ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"; }
    response += "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body;
    return {.status = status, .message = std::string(message), .response = std::move(response)};
}

// The first of the client's that the endpoint speaks; nothing where the header is not a list of tokens.
std::optional<std::string_view> choose_subprotocol(const HandshakeRequest& request,
                                                   std::span<const std::string_view> spoken) {
    std::string_view chosen;
    for (std::string_view value : values(request, "sec-websocket-protocol")) {
        while (!value.empty()) {
            const std::string_view offered = take_part(value, ',');
            if (offered.empty()) { continue; }  // RFC 9110 §5.6.1: empty elements are ignored.
            if (!is_token(offered)) { return std::nullopt; }
            if (chosen.empty() && std::ranges::find(spoken, offered) != spoken.end()) { chosen = offered; }
        }
    }
    return chosen;
}

// 8 to 15 without leading zeros (RFC 7692 §7.1.2), 0 for all else.
std::uint8_t window_bits(std::string_view text) {
    if (text == "8") { return 8; }
    if (text == "9") { return 9; }
    if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5') {
        return static_cast<std::uint8_t>(10 + (text[1] - '0'));
    }
    return 0;
}

struct Parameter {
    std::string_view name;
    std::string_view value;
    bool has_value = false;
};

// RFC 6455 §9.1: `name`, `name=token` or `name="token"`.
std::optional<Parameter> parse_parameter(std::string_view text) {
    const std::size_t equals = text.find('=');
    Parameter parameter{.name = trim(text.substr(0, equals))};
    if (!is_token(parameter.name)) { return std::nullopt; }
    if (equals == std::string_view::npos) { return parameter; }
    parameter.has_value = true;
    parameter.value = trim(text.substr(equals + 1));
    if (parameter.value.size() >= 2 && parameter.value.front() == '"' && parameter.value.back() == '"') {
        parameter.value = parameter.value.substr(1, parameter.value.size() - 2);
    }
    // Unquoted, a value is a token still; so no comma or semicolon can hide in quotes.
    if (!is_token(parameter.value)) { return std::nullopt; }
    return parameter;
}

enum class Offer : std::uint8_t { accepted, declined, garbage };

// One element of Sec-WebSocket-Extensions. RFC 7692 §7.1: an offer with an unknown parameter, a value
// that may not be or a name twice is declined; the next one may do.
Offer read_offer(std::string_view text, DeflateAgreement& agreement) {
    const std::string_view extension = take_part(text, ';');
    if (!is_token(extension)) { return Offer::garbage; }
    const bool ours = extension == "permessage-deflate";
    constexpr std::array<std::string_view, 4> kNames{"server_no_context_takeover", "client_no_context_takeover",
                                                     "server_max_window_bits", "client_max_window_bits"};
    std::array<bool, kNames.size()> seen{};
    bool declined = !ours;
    agreement = {};
    while (!text.empty()) {
        const auto parameter = parse_parameter(take_part(text, ';'));
        if (!parameter) { return Offer::garbage; }
        if (declined) { continue; }
        const auto index = static_cast<std::size_t>(std::ranges::find(kNames, parameter->name) - kNames.begin());
        if (index == kNames.size() || seen[index]) {
            declined = true;
            continue;
        }
        seen[index] = true;
        const std::uint8_t bits = window_bits(parameter->value);
        switch (index) {
            case 0:
            case 1: declined = parameter->has_value; break;
            case 2:
                declined = bits == 0;
                agreement.server_window_bits = bits;
                break;
            // The client may name a size or only say that it would take one; we ask for none.
            default: declined = parameter->has_value && bits == 0; break;
        }
    }
    return declined ? Offer::declined : Offer::accepted;
}

// Nothing where the header breaks its grammar.
std::optional<std::optional<DeflateAgreement>> choose_deflate(const HandshakeRequest& request) {
    std::optional<DeflateAgreement> chosen;
    for (std::string_view value : values(request, "sec-websocket-extensions")) {
        while (!value.empty()) {
            const std::string_view element = take_part(value, ',');
            if (element.empty()) { continue; }
            DeflateAgreement agreement;
            const Offer offer = read_offer(element, agreement);
            if (offer == Offer::garbage) { return std::nullopt; }
            if (offer == Offer::accepted && !chosen) { chosen = agreement; }
        }
    }
    return chosen;
}

}  // namespace

std::string accept_key(std::string_view key) {
    const std::string joined = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 §1.3.
    std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
    SHA1(reinterpret_cast<const unsigned char*>(joined.data()), joined.size(), digest.data());
    std::array<unsigned char, 29> text;  // 28 characters and the NUL that EVP_EncodeBlock writes.
    const int size = EVP_EncodeBlock(text.data(), digest.data(), SHA_DIGEST_LENGTH);
    return std::string(reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size));
}

std::expected<Handshake, HandshakeError> accept_handshake(const HandshakeRequest& request,
                                                          const HandshakeOptions& options) {
    if (request.method != "GET") { return std::unexpected(refuse(405, "a WebSocket is opened with GET")); }
    if (!request.http_1_1) { return std::unexpected(refuse(400, "a WebSocket needs HTTP/1.1")); }
    if (!lists_token(request, "upgrade", "websocket")) {
        return std::unexpected(refuse(400, "Upgrade does not name websocket"));
    }
    if (!lists_token(request, "connection", "upgrade")) {
        return std::unexpected(refuse(400, "Connection does not name Upgrade"));
    }
    const auto versions = values(request, "sec-websocket-version");
    if (versions.size() != 1 || versions[0] != "13") {
        return std::unexpected(refuse(426, "Sec-WebSocket-Version is not 13"));
    }
    const auto keys = values(request, "sec-websocket-key");
    if (keys.size() != 1 || !valid_key(keys[0])) {
        return std::unexpected(refuse(400, "Sec-WebSocket-Key is not sixteen bytes in base64, once"));
    }
    const auto subprotocol = choose_subprotocol(request, options.subprotocols);
    if (!subprotocol) { return std::unexpected(refuse(400, "Sec-WebSocket-Protocol is not a list of tokens")); }
    const auto deflate = choose_deflate(request);
    if (!deflate) { return std::unexpected(refuse(400, "Sec-WebSocket-Extensions is malformed")); }

    Handshake handshake{.subprotocol = std::string(*subprotocol)};
    if (options.deflate) { handshake.deflate = *deflate; }
    std::string& response = handshake.response;
    response.reserve(256 + options.extra_headers.size());
    response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: ";
    response.append(accept_key(keys[0])).append("\r\n");
    if (!handshake.subprotocol.empty()) {
        response.append("Sec-WebSocket-Protocol: ").append(handshake.subprotocol).append("\r\n");
    }
    if (handshake.deflate) {
        response += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                    "client_no_context_takeover";
        if (handshake.deflate->server_window_bits != 15) {
            response += "; server_max_window_bits=" + std::to_string(handshake.deflate->server_window_bits);
        }
        response += "\r\n";
    }
    response.append(options.extra_headers).append("\r\n");
    return handshake;
}

}  // namespace starling::codec::websocket
