// Calls of the backend API: a line with method and target, then the body.

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "codec/backend.h"
#include "codec/json.h"

using namespace starling::codec;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const backend::Limits kLimits;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::size_t line_size = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, line_size);
    const std::string_view body = text.substr(std::min(line_size + 1, text.size()));
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string_view target = line.substr(std::min(space + 1, line.size()));

    const auto request = backend::decode(line.substr(0, space), target, body, kLimits);
    if (!request) {
        const backend::Reply reply = backend::error_reply(request.error().error);
        CHECK(reply.status >= 400 && json::parse(reply.body, 8));
    } else if (const auto* publish = std::get_if<backend::PublishMessage>(&*request)) {
        // What goes on to subscribers is one JSON value, byte for byte.
        CHECK(json::parse(publish->data, 128) && body.find(publish->data) != std::string_view::npos);
        CHECK(!starling::codec::native::check_channel(publish->channel, 255, "channel"));
    }
    if (const auto batch = backend::decode_batch(body, kLimits)) {
        CHECK(batch->items.size() <= kLimits.batch_requests);
        for (const auto& item : batch->items) { (void)backend::decode(item.method, item.path, item.body, kLimits); }
    }
    return 0;
}
