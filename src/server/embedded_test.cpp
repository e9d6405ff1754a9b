#include "server/embedded.h"

#include <gtest/gtest.h>

namespace starling::server {
namespace {

TEST(Embedded, FindsAFileByItsPathAndAFolderByItsIndex) {
    EXPECT_EQ(find_embedded("/demo/../etc/passwd"), nullptr);
    EXPECT_EQ(find_embedded(""), nullptr);
    for (const EmbeddedFile& file : embedded_files()) {
        EXPECT_EQ(find_embedded(file.path), &file);
        EXPECT_FALSE(file.media_type.empty());
        EXPECT_TRUE(file.etag.starts_with('"') && file.etag.ends_with('"'));
    }
    if (!embedded_files().empty()) { EXPECT_EQ(find_embedded("/demo/"), find_embedded("/demo/index.html")); }
}

}  // namespace
}  // namespace starling::server
