#include "domain/settings.h"

#include <gtest/gtest.h>

namespace starling::domain {
namespace {

TEST(Settings, ReadTheFiveRightsAndNoOther) {
    EXPECT_EQ(parse_right("subscribe"), Right::subscribe);
    EXPECT_EQ(parse_right("publish"), Right::publish);
    EXPECT_EQ(parse_right("presence"), Right::presence);
    EXPECT_EQ(parse_right("typing"), Right::typing);
    EXPECT_EQ(parse_right("history"), Right::history);
    EXPECT_EQ(parse_right("Publish"), std::nullopt);
    EXPECT_EQ(parse_right(""), std::nullopt);
}

TEST(Settings, FindTheNamespaceBeforeTheFirstColon) {
    AppSettings app;
    app.namespaces = {{.name = "doc", .allow = 1}, {.name = "", .allow = 2}};
    EXPECT_EQ(app.find_namespace("doc:42").allow, 1);
    EXPECT_EQ(app.find_namespace("doc:a:b").allow, 1);
    EXPECT_EQ(app.find_namespace("doc").allow, 2);
    EXPECT_EQ(app.find_namespace("doc2:1").allow, 2);
    EXPECT_EQ(app.find_namespace("DOC:1").allow, 2);
    EXPECT_EQ(app.find_namespace(":doc").allow, 2);
    EXPECT_EQ(app.find_namespace("").allow, 2);
}

TEST(Settings, AllowNothingWhereNoDefaultNamespaceIs) {
    AppSettings app;
    app.namespaces = {{.name = "doc", .allow = kAllRights, .history_size = 9}};
    EXPECT_EQ(app.find_namespace("chat:1").allow, 0);
    EXPECT_EQ(app.find_namespace("chat:1").history_size, 0U);
    EXPECT_EQ(app.find_namespace("lobby").allow, 0);
}

TEST(Settings, FindTheDefaultAppWithoutItsName) {
    Settings settings;
    EXPECT_EQ(settings.find_app(""), std::nullopt);
    settings.apps.resize(2);
    settings.apps[0].id = "shop";
    EXPECT_EQ(settings.find_app(""), 1U);
    EXPECT_EQ(settings.find_app("default"), 1U);
    EXPECT_EQ(settings.find_app("shop"), 0U);
    EXPECT_EQ(settings.find_app("Shop"), std::nullopt);
    settings.apps[0].removed = true;
    EXPECT_EQ(settings.find_app("shop"), std::nullopt);
}

}  // namespace
}  // namespace starling::domain
