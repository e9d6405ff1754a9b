#pragma once
// The pages that the binary carries, so that the demo needs no files beside it. tools/embed.py makes
// the table when building; where the pages are not built, the table is empty.

#include <span>
#include <string_view>

namespace starling::server {

struct EmbeddedFile {
    std::string_view path;             // "/demo/index.html"
    std::string_view media_type;       // "text/html; charset=utf-8"
    std::string_view etag;             // With its quotes.
    std::string_view content;
};

std::span<const EmbeddedFile> embedded_files();

// "/demo/" finds "/demo/index.html". nullptr where there is none.
const EmbeddedFile* find_embedded(std::string_view path);

}  // namespace starling::server
