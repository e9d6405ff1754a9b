// Percent-encoding and queries.

#include <algorithm>

#include "codec/http.h"
#include "codec/json.h"

namespace starling::codec::http {

bool percent_decode(std::string_view text, bool plus_is_space, std::string& out) {
    out.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus_is_space) {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size()) { return false; }
            int value = 0;
            for (const char c : text.substr(i + 1, 2)) {
                const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
                if (digit < 0) { return false; }
                value = value * 16 + digit;
            }
            out += static_cast<char>(value);
            i += 2;
        }
    }
    return json::valid_utf8(out);
}

bool parse_query(std::string_view query, std::vector<std::pair<std::string, std::string>>& out) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view part = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        if (part.empty()) { continue; }
        const std::size_t equals = std::min(part.find('='), part.size());
        std::string key;
        std::string value;
        if (!percent_decode(part.substr(0, equals), true, key)) { return false; }
        if (equals < part.size() && !percent_decode(part.substr(equals + 1), true, value)) { return false; }
        out.emplace_back(std::move(key), std::move(value));
    }
    return true;
}

}  // namespace starling::codec::http
