#include "codec/deflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

namespace starling::codec {
namespace {

using namespace std::string_literals;

// A client's way: raw deflate, flushed, the last four bytes cut off.
std::string client_deflate(std::string_view message, int bits = 15, int strategy = Z_DEFAULT_STRATEGY) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, -bits, 8, strategy);
    std::string out(message.size() + message.size() / 100 + 1024, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(message.data()));
    stream.avail_in = static_cast<uInt>(message.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    ::deflate(&stream, Z_SYNC_FLUSH);
    out.resize(stream.total_out - 4);
    deflateEnd(&stream);
    return out;
}

// Reads with a window of `bits`, as a strict client would: a longer reach is an error.
std::string client_inflate(std::string_view payload, int bits) {
    const std::string bytes = std::string(payload) + "\0\0\xff\xff"s;
    z_stream stream{};
    inflateInit2(&stream, -bits);
    std::string out(1 << 20, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = ::inflate(&stream, Z_SYNC_FLUSH);
    out.resize(result == Z_OK || result == Z_STREAM_END ? stream.total_out : 0);
    inflateEnd(&stream);
    return out;
}

std::string words(std::size_t size) {
    std::string text;
    for (std::size_t index = 0; text.size() < size; ++index) {
        text += "{\"type\":\"message\",\"offset\":" + std::to_string(index * 7919) + "}";
    }
    text.resize(size);
    return text;
}

TEST(Inflator, ReadsTheExamplesOfRfc7692) {
    Inflator inflator;
    EXPECT_EQ(inflator.inflate("\xf2\x48\xcd\xc9\xc9\x07\x00"s, 5), "Hello");              // §7.2.3.1
    EXPECT_EQ(inflator.inflate("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s, 5), "Hello");  // §7.2.3.3
    EXPECT_EQ(inflator.inflate("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s, 5), "Hello");          // §7.2.3.4
    EXPECT_EQ(inflator.inflate("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s, 5), "Hello");  // §7.2.3.5
    EXPECT_EQ(inflator.inflate("\x00"s, 5), "");                                           // §7.2.3.6
    EXPECT_EQ(inflator.inflate("", 5), "");
}

TEST(Inflator, ReadsOnAfterAFinalBlock) {
    Inflator inflator;
    const std::string final = "\xf3\x48\xcd\xc9\xc9\x07\x00"s;
    EXPECT_EQ(inflator.inflate(final, 100), "Hello") << "the padding byte is missing";
    EXPECT_EQ(inflator.inflate(final + final + "\x00"s, 100), "HelloHello");
}

TEST(Inflator, StopsAtTheLimitHoweverFarItWouldBlowUp) {
    Inflator inflator;
    const std::string bomb = client_deflate(std::string(64 << 20, '\0'));
    EXPECT_LT(bomb.size(), 128U << 10);
    EXPECT_EQ(inflator.inflate(bomb, 128 << 10).error(), InflateError::too_large);
    EXPECT_EQ(inflator.inflate(client_deflate("fine"), 128 << 10), "fine") << "nothing is left behind";
    const std::string text = words(10000);
    const std::string payload = client_deflate(text);
    EXPECT_EQ(inflator.inflate(payload, 10000), text);
    EXPECT_EQ(inflator.inflate(payload, 9999).error(), InflateError::too_large);
    EXPECT_EQ(inflator.inflate(payload, 0).error(), InflateError::too_large);
}

TEST(Inflator, RefusesWhatIsMalformedAndGoesOn) {
    Inflator inflator;
    const std::string good = client_deflate(words(500));
    const std::string cases[] = {
        "\xff"s, "\x07"s, "\xff\xff\xff\xff"s, "garbage that is no deflate",
        "\x00\x05\x00\x00\x00Hello"s,         // A stored block whose lengths disagree.
        good.substr(0, good.size() / 2),      // Cut off.
        client_deflate(std::string(5000, 'a')) + "\x07"s,
    };
    for (const std::string& payload : cases) {
        EXPECT_EQ(inflator.inflate(payload, 1 << 20).error(), InflateError::malformed) << payload;
        EXPECT_EQ(inflator.inflate(good, 500), words(500));
    }
}

TEST(Inflator, KeepsNoContextBetweenMessages) {
    Inflator inflator;
    ASSERT_TRUE(inflator.inflate("\xf2\x48\xcd\xc9\xc9\x07\x00"s, 5));
    // RFC 7692 §7.2.3.2: "Hello" again by reference to the message before.
    EXPECT_EQ(inflator.inflate("\xf2\x00\x11\x00\x00"s, 5).error(), InflateError::malformed);
}

TEST(Deflator, IsReadBackForEverySizeAndWindow) {
    Deflator deflator;
    Inflator inflator;
    for (const std::size_t size : {0, 1, 3, 4, 60, 255, 256, 257, 511, 512, 513, 4096, 40000, 200000}) {
        const std::string text = words(size);
        for (std::uint8_t bits = 8; bits <= 15; ++bits) {
            const auto payload = deflator.deflate(text, bits);
            if (!payload) {
                EXPECT_TRUE(size <= 60 || (bits == 8 && size > 256)) << size << " bytes, " << int{bits} << " bits";
                continue;
            }
            EXPECT_LT(payload->size(), size);
            EXPECT_EQ(inflator.inflate(*payload, size), text) << size << " bytes, " << int{bits} << " bits";
            EXPECT_EQ(client_inflate(*payload, bits), text) << size << " bytes, " << int{bits} << " bits";
        }
    }
}

TEST(Deflator, LeavesAloneWhatItCannotMakeSmaller) {
    Deflator deflator;
    std::string noise;
    for (std::uint32_t state = 1, index = 0; index < 5000; ++index) {
        state = state * 1664525U + 1013904223U;
        noise += static_cast<char>(state >> 24);
    }
    for (std::uint8_t bits = 8; bits <= 15; ++bits) { EXPECT_FALSE(deflator.deflate(noise, bits)); }
    EXPECT_TRUE(deflator.deflate(words(5000), 9)) << "still of use";
}

}  // namespace
}  // namespace starling::codec
