#include "codec/base64.h"

#include <gtest/gtest.h>

namespace starling::codec {
namespace {

TEST(Base64Url, GoesThereAndBackForEveryLength) {
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        const std::string text = encode_base64url(bytes);
        EXPECT_EQ(decode_base64url(text), bytes) << i;
        EXPECT_EQ(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                  std::string::npos);
        bytes += static_cast<char>(i * 7);
    }
}

TEST(Base64Url, AgreesWithRfc4648) {
    EXPECT_EQ(encode_base64url("f"), "Zg");
    EXPECT_EQ(encode_base64url("fo"), "Zm8");
    EXPECT_EQ(encode_base64url("foobar"), "Zm9vYmFy");
    EXPECT_EQ(encode_base64url("\xfb\xff"), "-_8");
    EXPECT_EQ(decode_base64url("Zm9vYmE"), "fooba");
}

TEST(Base64Url, RefusesEverySecondSpelling) {
    for (const char* text : {"Zg==", "Zg=", "Z", "Zm9vY", "Zh", "Zm9", "Z g", "Zg\n", "+/8", "-_9", "Z\xc3\xa9", "Zm8."}) {
        EXPECT_EQ(decode_base64url(text), std::nullopt) << text;
    }
    EXPECT_EQ(decode_base64url(std::string_view("Zg\0A", 4)), std::nullopt);
    EXPECT_EQ(decode_base64url(""), "");
}

}  // namespace
}  // namespace starling::codec
