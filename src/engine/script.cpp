#include "engine/script.h"

#include <openssl/sha.h>

#include <array>
#include <utility>

namespace starling::engine {

Script make_script(std::string name, std::string text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
    SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::string sha;
    for (const unsigned char byte : digest) {
        sha += kDigits[byte >> 4];
        sha += kDigits[byte & 15];
    }
    return {std::move(name), std::move(text), std::move(sha)};
}

}  // namespace starling::engine
