// The first bytes of a connection from a trusted proxy: what is said does not depend on how the bytes
// were cut, and an address is one that the system reads too.

#include <arpa/inet.h>

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "codec/proxy_protocol.h"

using namespace starling;
using Status = codec::ProxyHeader::Status;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto whole = codec::read_proxy_header(bytes);
    if (whole.status != Status::complete) { CHECK(whole.consumed == 0); }
    CHECK(whole.consumed <= size);
    CHECK(whole.consumed <= codec::kProxyHeaderBytesMax);
    if (whole.status == Status::need_more) { CHECK(size < codec::kProxyHeaderBytesMax); }
    if (!whole.address.empty()) {
        unsigned char address[16];
        CHECK(inet_pton(whole.address.find(':') == std::string::npos ? AF_INET : AF_INET6, whole.address.c_str(), address) == 1);
    }
    // The first decision stands, however the rest comes.
    for (std::size_t cut = 0; cut < size && cut < 300; ++cut) {
        const auto part = codec::read_proxy_header(bytes.substr(0, cut));
        if (part.status == Status::need_more) { continue; }
        CHECK(part.status == whole.status);
        CHECK(part.consumed == whole.consumed);
        CHECK(part.address == whole.address);
        CHECK(part.port == whole.port);
        break;
    }
    return 0;
}
