#include "server/embedded.h"

#include <algorithm>
#include <string>

namespace starling::server {

const EmbeddedFile* find_embedded(std::string_view path) {
    std::string index;
    if (path.ends_with('/')) {
        index = std::string(path) + "index.html";
        path = index;
    }
    const auto files = embedded_files();
    const auto found = std::ranges::find(files, path, &EmbeddedFile::path);
    return found == files.end() ? nullptr : &*found;
}

}  // namespace starling::server
