#include "codec/websocket.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "codec/deflate.h"

namespace starling::codec::websocket {

std::ostream& operator<<(std::ostream& out, Event::Kind kind) { return out << static_cast<int>(kind); }

namespace {

using namespace std::string_literals;
using Kind = Event::Kind;

struct Seen {
    Kind kind;
    std::string payload;
    std::uint16_t code = 0;

    bool operator==(const Seen&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Seen& seen) {
    return out << "{kind " << seen.kind << ", " << seen.payload.size() << " bytes \"" << seen.payload.substr(0, 40)
               << "\", code " << seen.code << "}";
}

// Errors compare by their code.
Seen error(std::uint16_t code) { return {Kind::error, "", code}; }

constexpr std::uint32_t kMask = 0x37FA213D;

std::string frame(Opcode opcode, std::string_view payload, bool final = true, Rsv1 rsv1 = Rsv1::clear) {
    return encode_masked({.opcode = opcode, .payload = payload, .mask = kMask, .final = final, .rsv1 = rsv1});
}

struct Feed {
    ReaderLimits limits;
    Compression compression = Compression::none;
    Role role = Role::server;
};

// Feeds pieces of `step` bytes after a first one of `first`, and drains the reader after each.
std::vector<Seen> read(std::string bytes, std::size_t first, std::size_t step, const Feed& feed = {}) {
    Reader reader(feed.compression, feed.role);
    Inflator inflator;
    std::vector<Seen> seen;
    std::size_t at = 0;
    while (at < bytes.size()) {
        const std::size_t size = std::min(at == 0 ? first : step, bytes.size() - at);
        std::string piece = bytes.substr(at, size);  // A buffer of its own: reads past it show.
        at += size;
        std::span<char> input(piece);
        while (true) {
            const Event event = reader.next(input, feed.limits, &inflator);
            EXPECT_LE(event.consumed, input.size());
            input = input.subspan(event.consumed);
            if (event.kind == Kind::none) { break; }
            seen.push_back({event.kind, event.kind == Kind::error ? "" : std::string(event.payload), event.code});
        }
        EXPECT_TRUE(input.empty());
    }
    return seen;
}

// The same events, however the bytes arrive.
std::vector<Seen> read(const std::string& bytes, const Feed& feed = {}) {
    const std::vector<Seen> whole = read(bytes, bytes.size(), 1, feed);
    EXPECT_EQ(read(bytes, 1, 1, feed), whole) << "byte by byte";
    for (std::size_t split = 1; split < std::min<std::size_t>(bytes.size(), 600); ++split) {
        EXPECT_EQ(read(bytes, split, bytes.size(), feed), whole) << "split at " << split;
    }
    return whole;
}

using Events = std::vector<Seen>;

TEST(Reader, IsSmallWhileIdle) {
    EXPECT_LE(sizeof(Reader), 48U);
    Reader reader;
    std::string bytes = frame(Opcode::text, "hello");
    EXPECT_EQ(reader.next(std::span(bytes), {}).kind, Kind::text);
    EXPECT_EQ(reader.buffered(), 0U);
}

TEST(Reader, ReadsTheExamplesOfRfc6455) {
    EXPECT_EQ(read("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s), (Events{{Kind::text, "Hello"}}));
    const Feed client{.role = Role::client};
    EXPECT_EQ(read("\x81\x05\x48\x65\x6c\x6c\x6f"s, client), (Events{{Kind::text, "Hello"}}));
    EXPECT_EQ(read("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"s, client), (Events{{Kind::text, "Hello"}}));
    EXPECT_EQ(read("\x89\x05\x48\x65\x6c\x6c\x6f"s, client), (Events{{Kind::ping, "Hello"}}));
    EXPECT_EQ(read("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s), (Events{{Kind::pong, "Hello"}}));
}

TEST(Reader, UnmasksInPlaceWhatIsAllThere) {
    std::string bytes = frame(Opcode::text, "one") + frame(Opcode::binary, "two");
    Reader reader;
    std::span<char> input(bytes);
    const Event one = reader.next(input, {});
    EXPECT_EQ(one.payload, "one");
    EXPECT_EQ(one.consumed, 9U);
    EXPECT_EQ(one.payload.data(), bytes.data() + 6);
    const Event two = reader.next(input.subspan(9), {});
    EXPECT_EQ(two.payload, "two");
    EXPECT_EQ(two.payload.data(), bytes.data() + 15);
    EXPECT_EQ(reader.buffered(), 0U);
}

TEST(Reader, TakesEverySizeAroundTheLengthForms) {
    for (const std::size_t size : {0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537}) {
        const std::string payload(size, 'x');
        const std::string bytes = frame(Opcode::binary, payload) + frame(Opcode::text, payload);
        const Events expected{{Kind::binary, payload}, {Kind::text, payload}};
        for (const std::size_t step : {std::size_t{997}, bytes.size()}) { EXPECT_EQ(read(bytes, step, step), expected); }
        if (size < 1000) { EXPECT_EQ(read(bytes), expected); }
    }
}

TEST(Reader, JoinsFragmentsWithControlFramesBetween) {
    EXPECT_EQ(read(frame(Opcode::text, "Hel", false) + frame(Opcode::ping, "are you there") +
                   frame(Opcode::continuation, "", false) + frame(Opcode::pong, "") + frame(Opcode::ping, "2") +
                   frame(Opcode::continuation, "lo") + frame(Opcode::binary, "", false) +
                   frame(Opcode::continuation, "")),
              (Events{{Kind::ping, "are you there"}, {Kind::pong, ""}, {Kind::ping, "2"}, {Kind::text, "Hello"},
                      {Kind::binary, ""}}));
}

TEST(Reader, RefusesWhatTheFramingForbids) {
    struct Case { const char* name; std::string bytes; };
    const Case cases[] = {
        {"F-1 unmasked", "\x81\x05Hello"s},
        {"F-2 RSV1", frame(Opcode::text, "x", true, Rsv1::set)},
        {"F-2 RSV2", "\xa1\x80\0\0\0\0"s},
        {"F-2 RSV3", "\x91\x80\0\0\0\0"s},
        {"F-2 RSV1 on ping", "\xc9\x80\0\0\0\0"s},
        {"F-3 opcode 3", "\x83\x80\0\0\0\0"s},
        {"F-3 opcode 4", "\x84\x80\0\0\0\0"s},
        {"F-3 opcode 5", "\x85\x80\0\0\0\0"s},
        {"F-3 opcode 6", "\x86\x80\0\0\0\0"s},
        {"F-3 opcode 7", "\x87\x80\0\0\0\0"s},
        {"F-3 opcode 11", "\x8b\x80\0\0\0\0"s},
        {"F-3 opcode 12", "\x8c\x80\0\0\0\0"s},
        {"F-3 opcode 13", "\x8d\x80\0\0\0\0"s},
        {"F-3 opcode 14", "\x8e\x80\0\0\0\0"s},
        {"F-3 opcode 15", "\x8f\x80\0\0\0\0"s},
        {"F-4 long ping", frame(Opcode::ping, std::string(126, 'x'))},
        {"F-4 long close", frame(Opcode::close, "\x03\xe8" + std::string(124, 'x'))},
        {"F-4 fragmented ping", frame(Opcode::ping, "x", false)},
        {"F-4 fragmented close", frame(Opcode::close, "", false)},
        {"F-5 continuation first", frame(Opcode::continuation, "x")},
        {"F-5 continuation after the end", frame(Opcode::text, "x", false) + frame(Opcode::continuation, "y") +
                                             frame(Opcode::continuation, "z")},
        {"F-5 message inside a message", frame(Opcode::text, "x", false) + frame(Opcode::text, "y")},
        {"F-7 16 bits for 125", "\x82\xfe\x00\x7d\0\0\0\0"s},
        {"F-7 16 bits for 0", "\x82\xfe\x00\x00\0\0\0\0"s},
        {"F-7 64 bits for 65535", "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"s},
        {"F-7 64 bits for 1", "\x82\xff\0\0\0\0\0\0\0\x01\0\0\0\0"s},
    };
    for (const Case& c : cases) {
        // Nothing after an error is looked at (F-16).
        const Events seen = read(c.bytes + frame(Opcode::text, "after"));
        ASSERT_FALSE(seen.empty()) << c.name;
        EXPECT_EQ(seen.back(), error(1002)) << c.name;
    }
    EXPECT_EQ(read(frame(Opcode::text, "x"), {.role = Role::client}), Events{error(1002)}) << "masked by a server";
}

TEST(Reader, RefusesRsv1WhereItHasNoMeaning) {
    const Feed deflate{.compression = Compression::deflate};
    EXPECT_EQ(read("\xc9\x80\0\0\0\0"s, deflate), Events{error(1002)});
    EXPECT_EQ(read(frame(Opcode::text, "x", false) + frame(Opcode::continuation, "y", true, Rsv1::set), deflate),
              Events{error(1002)});
    EXPECT_EQ(read(frame(Opcode::text, "plain"), deflate), (Events{{Kind::text, "plain"}}));
}

TEST(Reader, RefusesHugeLengthsWithoutAllocating) {
    for (const std::string& length : {"\x80\0\0\0\0\0\0\0"s, "\x7f\xff\xff\xff\xff\xff\xff\xff"s,
                                      "\xff\xff\xff\xff\xff\xff\xff\xff"s, "\0\0\0\0\0\x02\0\x01"s}) {
        for (const Compression compression : {Compression::none, Compression::deflate}) {
            EXPECT_EQ(read("\x82\xff" + length + "\0\0\0\0"s, {.compression = compression}), Events{error(1009)});
        }
    }
    // F-6 inside a message: sums do not wrap.
    EXPECT_EQ(read(frame(Opcode::binary, "x", false) + "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"s),
              Events{error(1009)});
    Reader reader;
    std::string announced = "\x82\xff\0\0\0\0\0\x02\0\0\0\0\0\0x"s;
    EXPECT_EQ(reader.next(std::span(announced), {}).kind, Kind::none);
    EXPECT_LT(reader.buffered(), 256U) << "room grows with what came";
}

TEST(Reader, HoldsMessagesToTheirLimit) {
    const Feed feed{.limits = {.message_bytes = 10}};
    EXPECT_EQ(read(frame(Opcode::text, "0123456789"), feed), (Events{{Kind::text, "0123456789"}}));
    EXPECT_EQ(read(frame(Opcode::text, "0123456789a"), feed), Events{error(1009)});
    const std::string nine = frame(Opcode::text, "0123", false) + frame(Opcode::continuation, "45678", false);
    EXPECT_EQ(read(nine + frame(Opcode::continuation, "9"), feed), (Events{{Kind::text, "0123456789"}}));
    EXPECT_EQ(read(nine + frame(Opcode::continuation, "9a"), feed), Events{error(1009)});
    EXPECT_EQ(read(nine + frame(Opcode::ping, "not counted, whatever its size") + frame(Opcode::continuation, "9"), feed),
              (Events{{Kind::ping, "not counted, whatever its size"}, {Kind::text, "0123456789"}}));
}

TEST(Reader, CountsFragmentsEmptyOnesToo) {
    for (const std::string payload : {"", "x"}) {
        std::string bytes = frame(Opcode::binary, payload, false);
        for (int count = 1; count < 127; ++count) { bytes += frame(Opcode::continuation, payload, false); }
        EXPECT_EQ(read(bytes + frame(Opcode::continuation, payload), 1 << 20, 1).size(), 1U);
        bytes += frame(Opcode::continuation, payload, false);
        EXPECT_EQ(read(bytes, 1 << 20, 1), Events{});
        EXPECT_EQ(read(bytes + frame(Opcode::continuation, payload), 1 << 20, 1), Events{error(1009)});
    }
}

TEST(Reader, CountsMoreFragmentsThanSixteenBitsHold) {
    std::string bytes = frame(Opcode::binary, "", false);
    for (int count = 1; count < 65536; ++count) { bytes += frame(Opcode::continuation, "", false); }
    bytes += frame(Opcode::continuation, "x");
    EXPECT_EQ(read(bytes, bytes.size(), 1, {.limits = {.fragments = 100000}}), (Events{{Kind::binary, "x"}}));
}

TEST(Reader, ReadsCloseFrames) {
    const auto close = [](std::string payload) { return read(frame(Opcode::close, payload) + frame(Opcode::text, "x")); };
    const auto code = [](int value) { return std::string{static_cast<char>(value >> 8), static_cast<char>(value)}; };
    EXPECT_EQ(close(""), (Events{{Kind::close, "", 1005}}));
    EXPECT_EQ(close("\x03\xe8"s), (Events{{Kind::close, "", 1000}}));
    EXPECT_EQ(close("\x0f\xa1" "bye \xE2\x82\xAC"s), (Events{{Kind::close, "bye \xE2\x82\xAC", 4001}}));
    EXPECT_EQ(close("\x03\xe8" + std::string(123, 'x')), (Events{{Kind::close, std::string(123, 'x'), 1000}}));
    EXPECT_EQ(close("\x03"), Events{error(1002)});
    EXPECT_EQ(close("\x03\xe8\xE2\x82"), Events{error(1007)});
    EXPECT_EQ(close("\x03\xe8\xED\xA0\x80"), Events{error(1007)});
    for (const int value : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
        EXPECT_EQ(close(code(value)), (Events{{Kind::close, "", static_cast<std::uint16_t>(value)}}));
    }
    for (const int value : {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
        EXPECT_EQ(close(code(value)), Events{error(1002)}) << value;
    }
}

TEST(Reader, RefusesBadTextAtItsFirstBadByte) {
    const std::string good = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5 \xF0\x9F\x98\x80";
    EXPECT_EQ(read(frame(Opcode::text, good)), (Events{{Kind::text, good}}));
    for (std::size_t split = 0; split <= good.size(); ++split) {
        EXPECT_EQ(read(frame(Opcode::text, good.substr(0, split), false) + frame(Opcode::continuation, good.substr(split))),
                  (Events{{Kind::text, good}}));
    }
    for (const std::string bad : {"\xED\xA0\x80", "\xC0\xAF", "\xF4\x90\x80\x80", "\x80", "\xFF", "\xE2\x82", "\xF0\x9F\x98"}) {
        EXPECT_EQ(read(frame(Opcode::text, good + bad)), Events{error(1007)});
        EXPECT_EQ(read(frame(Opcode::binary, bad)), (Events{{Kind::binary, bad}}));
        for (std::size_t split = 0; split <= bad.size(); ++split) {
            EXPECT_EQ(read(frame(Opcode::text, good + bad.substr(0, split), false) +
                           frame(Opcode::continuation, bad.substr(split))),
                      Events{error(1007)});
        }
    }
    // Autobahn 6.4: neither the frame nor the message need be whole.
    std::string bytes = frame(Opcode::text, good + "\xF4\x90" + std::string(100, 'x'));
    bytes.resize(6 + good.size() + 2);
    EXPECT_EQ(read(bytes), Events{error(1007)});
    EXPECT_EQ(read(frame(Opcode::text, good + "\xF4\x90", false)), Events{error(1007)});
}

TEST(Reader, InflatesMessages) {
    const Feed deflate{.limits = {.message_bytes = 2000}, .compression = Compression::deflate};
    const std::string hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"s;
    EXPECT_EQ(read(frame(Opcode::text, hello, true, Rsv1::set) + frame(Opcode::binary, hello, true, Rsv1::set) +
                       frame(Opcode::text, "plain"),
                   deflate),
              (Events{{Kind::text, "Hello"}, {Kind::binary, "Hello"}, {Kind::text, "plain"}}));
    EXPECT_EQ(read(frame(Opcode::text, hello.substr(0, 3), false, Rsv1::set) + frame(Opcode::ping, "p") +
                       frame(Opcode::continuation, hello.substr(3)),
                   deflate),
              (Events{{Kind::ping, "p"}, {Kind::text, "Hello"}}));
    Deflator deflator;
    const auto squeezed = [&](std::string_view text) { return frame(Opcode::text, *deflator.deflate(text), true, Rsv1::set); };
    EXPECT_EQ(read(squeezed(std::string(2000, 'a')), deflate), (Events{{Kind::text, std::string(2000, 'a')}}));
    EXPECT_EQ(read(squeezed(std::string(2001, 'a')), deflate), Events{error(1009)});
    EXPECT_EQ(read(squeezed(std::string(500, '\xff')), deflate), Events{error(1007)}) << "not UTF-8 once inflated";
    EXPECT_EQ(read(frame(Opcode::text, "\xff\xff", true, Rsv1::set), deflate), Events{error(1007)});
    EXPECT_EQ(read(frame(Opcode::text, "", true, Rsv1::set), deflate), (Events{{Kind::text, ""}}));
}

TEST(Reader, KeepsNothingAfterAMessageOrAnError) {
    Reader reader;
    const auto feed = [&](std::string bytes) {
        std::span<char> input(bytes);
        while (true) {
            const Event event = reader.next(input, {});
            input = input.subspan(event.consumed);
            if (event.kind == Kind::none) { return; }
        }
    };
    feed(frame(Opcode::text, std::string(1000, 'x'), false));
    EXPECT_GE(reader.buffered(), 1000U);
    feed(frame(Opcode::continuation, "y"));
    EXPECT_EQ(reader.buffered(), 0U);
    feed(frame(Opcode::text, "z", false));
    feed(frame(Opcode::text, "z", false));
    EXPECT_FALSE(reader.open());
    EXPECT_EQ(reader.buffered(), 0U);
    feed(frame(Opcode::text, "z"));
    EXPECT_FALSE(reader.open());
}

TEST(Encoder, WritesTheShortestHeader) {
    char header[kHeaderBytesMax];
    const auto encoded = [&](std::size_t size, Rsv1 rsv1 = Rsv1::clear) {
        return std::string(header, encode_header(header, Opcode::binary, size, rsv1));
    };
    EXPECT_EQ(encoded(0), "\x82\x00"s);
    EXPECT_EQ(encoded(125), "\x82\x7d"s);
    EXPECT_EQ(encoded(126), "\x82\x7e\x00\x7e"s);
    EXPECT_EQ(encoded(65535), "\x82\x7e\xff\xff"s);
    EXPECT_EQ(encoded(65536), "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"s);
    EXPECT_EQ(encoded(5, Rsv1::set), "\xc2\x05"s);
    EXPECT_EQ(encode_frame(Opcode::text, "Hello"), "\x81\x05Hello"s);
}

TEST(Encoder, CutsACloseReasonBetweenCharacters) {
    EXPECT_EQ(encode_close(1005), "\x88\x00"s);
    EXPECT_EQ(encode_close(1000), "\x88\x02\x03\xe8"s);
    EXPECT_EQ(encode_close(4001, "bye"), "\x88\x05\x0f\xa1" "bye"s);
    const std::string full(123, 'x');
    EXPECT_EQ(encode_close(1000, full), "\x88\x7d\x03\xe8" + full);
    EXPECT_EQ(encode_close(1000, full + "y"), "\x88\x7d\x03\xe8" + full);
    EXPECT_EQ(encode_close(1000, full.substr(0, 121) + "\xE2\x82\xAC"), "\x88\x7b\x03\xe8" + full.substr(0, 121));
}

}  // namespace
}  // namespace starling::codec::websocket
