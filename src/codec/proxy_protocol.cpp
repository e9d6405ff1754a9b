#include "codec/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace starling::codec {
namespace {

using Status = ProxyHeader::Status;

constexpr std::string_view kText = "PROXY ";
constexpr std::size_t kTextBytesMax = 107;   // With its CR LF: the longest line that version 1 can be.
constexpr std::string_view kBinary("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kBinaryHeadBytes = 16;

// As one text, whichever way it was written; nullopt: no address of that family.
std::optional<std::string> canonical(int family, const std::string& text) {
    std::array<unsigned char, 16> bytes{};
    const bool cut = text.find('\0') != std::string::npos;   // It would be read up to there.
    if (cut || inet_pton(family, text.c_str(), bytes.data()) != 1) { return std::nullopt; }
    char out[INET6_ADDRSTRLEN] = "";
    inet_ntop(family, bytes.data(), out, sizeof out);
    return std::string(out);
}

std::string address_at(int family, std::string_view bytes) {
    char out[INET6_ADDRSTRLEN] = "";
    inet_ntop(family, bytes.data(), out, sizeof out);
    return out;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool zeros = text.size() > 1 && text.front() == '0';
    if (text.empty() || zeros || error != std::errc() || end != text.data() + text.size()) { return std::nullopt; }
    return port;
}

std::uint16_t big_endian(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 | static_cast<unsigned char>(bytes[at + 1]));
}

// "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n", or "PROXY UNKNOWN" and anything.
ProxyHeader read_text(std::string_view bytes) {
    const std::size_t end = bytes.substr(0, kTextBytesMax).find("\r\n");
    if (end == std::string_view::npos) { return {.status = bytes.size() < kTextBytesMax ? Status::need_more : Status::malformed}; }
    ProxyHeader header{.status = Status::complete, .consumed = end + 2, .address = {}};
    std::string_view rest = bytes.substr(kText.size(), end - kText.size());
    std::array<std::string_view, 5> words;
    std::size_t count = 0;
    while (count < words.size()) {
        const std::size_t space = rest.find(' ');
        words[count++] = rest.substr(0, space);
        if (space == std::string_view::npos) { break; }
        rest.remove_prefix(space + 1);
        if (count == words.size()) { count = words.size() + 1; }   // A sixth word.
    }
    if (words[0] == "UNKNOWN") { return header; }
    const int family = words[0] == "TCP4" ? AF_INET : AF_INET6;
    const auto source = canonical(family, std::string(words[1]));
    const auto port = port_of(words[3]);
    const bool whole = (words[0] == "TCP4" || words[0] == "TCP6") && count == words.size() && source && port &&
                       canonical(family, std::string(words[2])) && port_of(words[4]);
    if (!whole) { return {.status = Status::malformed}; }
    header.address = *source;
    header.port = *port;
    return header;
}

//  0           12        13          14       16
// | signature | version | family    | size   | source, destination, ports, extensions
// |           | command | transport | of rest|
ProxyHeader read_binary(std::string_view bytes) {
    if (bytes.size() > 12 && static_cast<unsigned char>(bytes[12]) != 0x20 && static_cast<unsigned char>(bytes[12]) != 0x21) {
        return {.status = Status::malformed};   // Version 2 with LOCAL or PROXY is all there is.
    }
    if (bytes.size() < kBinaryHeadBytes) { return {}; }
    const std::size_t size = kBinaryHeadBytes + big_endian(bytes, 14);
    if (size > kProxyHeaderBytesMax) { return {.status = Status::malformed}; }
    if (bytes.size() < size) { return {}; }
    ProxyHeader header{.status = Status::complete, .consumed = size, .address = {}};
    const bool local = static_cast<unsigned char>(bytes[12]) == 0x20;
    const int family = static_cast<unsigned char>(bytes[13]) >> 4;
    // Families without an internet address (unspecified, Unix) are a client that is not told.
    if (local || (family != 1 && family != 2)) { return header; }
    const std::size_t address_bytes = family == 1 ? 4 : 16;
    const std::string_view body = bytes.substr(kBinaryHeadBytes, size - kBinaryHeadBytes);
    if (body.size() < 2 * address_bytes + 4) { return {.status = Status::malformed}; }
    header.address = address_at(family == 1 ? AF_INET : AF_INET6, body);
    header.port = big_endian(body, 2 * address_bytes);
    return header;
}

}  // namespace

ProxyHeader read_proxy_header(std::string_view bytes) {
    for (const std::string_view mark : {kText, kBinary}) {
        const std::size_t size = std::min(bytes.size(), mark.size());
        if (bytes.substr(0, size) != mark.substr(0, size)) { continue; }
        if (size < mark.size()) { return {}; }
        return mark == kText ? read_text(bytes) : read_binary(bytes);
    }
    return {.status = Status::absent};
}

}  // namespace starling::codec
