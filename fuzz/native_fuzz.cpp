// Frames of native clients: what is refused is told in a valid frame, what is accepted keeps section 2's limits.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "codec/json.h"
#include "codec/native.h"

using namespace starling;
using namespace starling::codec;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const native::Limits kLimits;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (!json::valid_utf8(text)) { return 0; }

    const auto request = native::decode(text, kLimits);
    if (!request) {
        const auto& refused = request.error();
        const ErrorCode code = refused.error.code;
        CHECK(code == ErrorCode::bad_request || code == ErrorCode::too_large || code == ErrorCode::limit_exceeded);
        CHECK(!refused.id || *refused.id > 0);
        // However long the keys of the frame, the answer is short.
        CHECK(refused.error.message.size() < 256);
        CHECK(!refused.channel || !native::check_channel(*refused.channel, kLimits.channel_bytes, "channel"));
        const std::string answer = native::encode_error(refused.id, refused.error, refused.channel.value_or(""));
        CHECK(json::valid_utf8(answer) && json::parse(answer, 1));
        return 0;
    }
    if (const auto* publish = std::get_if<native::Publish>(&request->command)) {
        CHECK(publish->data.size() <= kLimits.data_bytes && text.find(publish->data) != std::string_view::npos);
        CHECK(json::parse(publish->data, 128));
        Message message;
        message.event = publish->event;
        message.data = publish->data;
        message.conflate_key = publish->conflate_key;
        const std::string frame = native::encode_message(publish->channel, message);
        CHECK(json::valid_utf8(frame) && json::parse(frame, 129));
    } else if (const auto* subscribe = std::get_if<native::Subscribe>(&request->command)) {
        CHECK(!native::check_channel(subscribe->channel, kLimits.channel_bytes, "channel"));
        CHECK(!subscribe->presence_data || json::parse(*subscribe->presence_data, 32));
    } else if (const auto* history = std::get_if<native::HistoryGet>(&request->command)) {
        CHECK(history->limit >= 1 && history->limit <= 1000);
    }
    return 0;
}
