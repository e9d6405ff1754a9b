#include "codec/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace starling::codec::websocket {
namespace {

using testing::HasSubstr;
using testing::Not;
using Header = std::pair<std::string_view, std::string_view>;
using Headers = std::vector<Header>;

const Header kUpgrade{"Upgrade", "websocket"};
const Header kConnection{"Connection", "Upgrade"};
const Header kVersion{"Sec-WebSocket-Version", "13"};
const Header kKey{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="};

Headers with(Headers more) {
    Headers headers{kUpgrade, kConnection, kVersion, kKey};
    headers.insert(headers.end(), more.begin(), more.end());
    return headers;
}

std::expected<Handshake, HandshakeError> accept(const Headers& headers, bool deflate = true,
                                                std::string_view method = "GET") {
    static constexpr std::string_view kSpoken[] = {"starling.v1.json", "other"};
    return accept_handshake({.method = method, .headers = headers}, {.subprotocols = kSpoken, .deflate = deflate});
}

int status(const Headers& headers) {
    const auto handshake = accept(headers);
    return handshake ? 101 : handshake.error().status;
}

std::optional<DeflateAgreement> agreed(std::string_view offer) {
    const auto handshake = accept(with({{"Sec-WebSocket-Extensions", offer}}));
    EXPECT_TRUE(handshake) << offer;
    return handshake ? handshake->deflate : std::nullopt;
}

TEST(Handshake, AnswersTheExampleOfRfc6455) {
    EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const auto handshake = accept(with({}));
    ASSERT_TRUE(handshake);
    EXPECT_EQ(handshake->response,
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    EXPECT_EQ(handshake->subprotocol, "");
    EXPECT_FALSE(handshake->deflate);
}

TEST(Handshake, RefusesAKeyThatIsNotSixteenBytesOnce) {
    EXPECT_EQ(status({kUpgrade, kConnection, kVersion}), 400);
    for (const std::string_view key :
         {"", "dGhl", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQAA",
          "dGhlIHNhbXBsZSBub25j!Q==", "dGhlIHNhbXBsZSBub25jZSBsb25nZXI=", "dGhlIHNhbXBsZSBub25j\xC3\xA4=="}) {
        EXPECT_EQ(status({kUpgrade, kConnection, kVersion, {"Sec-WebSocket-Key", key}}), 400) << key;
    }
    EXPECT_EQ(status(with({kKey})), 400) << "twice";
    EXPECT_EQ(status({kUpgrade, kConnection, kVersion, {"SEC-WEBSOCKET-KEY", " dGhlIHNhbXBsZSBub25jZQ== "}}), 101);
}

TEST(Handshake, SaysWhichVersionItSpeaks) {
    for (const std::string_view version : {"", "0", "7", "8", "14", "13, 8", "013", "+13", "1 3"}) {
        const auto handshake = accept({kUpgrade, kConnection, kKey, {"Sec-WebSocket-Version", version}});
        ASSERT_FALSE(handshake) << version;
        EXPECT_EQ(handshake.error().status, 426) << version;
        EXPECT_THAT(handshake.error().response, HasSubstr("\r\nSec-WebSocket-Version: 13\r\n"));
        EXPECT_THAT(handshake.error().response, HasSubstr("HTTP/1.1 426 Upgrade Required\r\n"));
    }
    EXPECT_EQ(status({kUpgrade, kConnection, kKey}), 426) << "absent";
    EXPECT_EQ(status(with({kVersion})), 426) << "twice";
}

TEST(Handshake, ReadsUpgradeAndConnectionAsLists) {
    const auto upgrade = [](std::string_view value) { return status({{"Upgrade", value}, kConnection, kVersion, kKey}); };
    for (const std::string_view value : {"websocket", "WebSocket", "websocket, foo", "foo ,\tWEBSOCKET", ",,websocket,"}) {
        EXPECT_EQ(upgrade(value), 101) << value;
    }
    for (const std::string_view value : {"", "websockets", "web socket", "h2c", "websocket/13", ",,,,"}) {
        EXPECT_EQ(upgrade(value), 400) << value;
    }
    EXPECT_EQ(status({kConnection, kVersion, kKey}), 400) << "absent";
    const auto connection = [](std::string_view value) { return status({kUpgrade, {"Connection", value}, kVersion, kKey}); };
    for (const std::string_view value : {"upgrade", "keep-alive, Upgrade"}) { EXPECT_EQ(connection(value), 101) << value; }
    for (const std::string_view value : {"", "close", "upgraded"}) { EXPECT_EQ(connection(value), 400) << value; }
    EXPECT_EQ(status({kUpgrade, kVersion, kKey}), 400) << "absent";
    EXPECT_EQ(status({kUpgrade, {"Connection", "keep-alive"}, kConnection, kVersion, kKey}), 101) << "two lines";
}

TEST(Handshake, RefusesOtherMethodsAndHttp10) {
    for (const std::string_view method : {"POST", "HEAD", "get", "CONNECT", ""}) {
        const auto handshake = accept(with({}), true, method);
        ASSERT_FALSE(handshake);
        EXPECT_EQ(handshake.error().status, 405) << method;
        EXPECT_THAT(handshake.error().response, HasSubstr("\r\nAllow: GET\r\n"));
    }
    const Headers headers = with({});
    const auto old = accept_handshake({.method = "GET", .http_1_1 = false, .headers = headers}, {});
    ASSERT_FALSE(old);
    EXPECT_EQ(old.error().status, 400);
}

TEST(Handshake, AnErrorIsAWholeAnswer) {
    const auto handshake = accept({});
    ASSERT_FALSE(handshake);
    const std::string& response = handshake.error().response;
    const std::size_t end = response.find("\r\n\r\n");
    ASSERT_NE(end, std::string::npos);
    EXPECT_THAT(response, HasSubstr("\r\nContent-Length: " + std::to_string(response.size() - end - 4) + "\r\n"));
    EXPECT_THAT(response, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_EQ(response.substr(end + 4),
              R"({"error":{"code":"bad_request","message":"Upgrade does not name websocket"}})");
}

TEST(Handshake, ChoosesTheClientsFirstSubprotocolThatIsSpoken) {
    const auto choose = [](Headers more) {
        const auto handshake = accept(with(std::move(more)));
        return handshake ? handshake->subprotocol : "refused";
    };
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", "chat, other, starling.v1.json"}}), "other");
    EXPECT_EQ(choose({{"sec-websocket-protocol", "chat"}, {"Sec-WebSocket-Protocol", "starling.v1.json"}}),
              "starling.v1.json");
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", "chat"}}), "");
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", "STARLING.V1.JSON"}}), "") << "subprotocols have case";
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", ""}}), "");
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", "a b"}}), "refused");
    EXPECT_EQ(choose({{"Sec-WebSocket-Protocol", "a\"b"}}), "refused");
    const auto handshake = accept(with({{"Sec-WebSocket-Protocol", "other"}}));
    EXPECT_THAT(handshake->response, HasSubstr("\r\nSec-WebSocket-Protocol: other\r\n"));
}

TEST(Handshake, ReadsLongListsInOneWalk) {
    const std::string spaces = "a," + std::string(64 << 10, ' ') + "other";
    EXPECT_EQ(accept(with({{"Sec-WebSocket-Protocol", spaces}}))->subprotocol, "other");
    EXPECT_EQ(status(with({{"Sec-WebSocket-Protocol", std::string(64 << 10, ',')}})), 101);
    std::string offers;
    for (int index = 0; index < 1000; ++index) { offers += "permessage-deflate; server_max_window_bits=7, "; }
    EXPECT_FALSE(agreed(offers));
    EXPECT_TRUE(agreed(offers + "permessage-deflate"));
    std::string parameters = "permessage-deflate";
    for (int index = 0; index < 10000; ++index) { parameters += ";a=b"; }
    EXPECT_FALSE(agreed(parameters));
}

TEST(Handshake, AgreesOnDeflateWithoutContexts) {
    const DeflateAgreement full{.server_window_bits = 15};
    EXPECT_EQ(agreed("permessage-deflate"), full);
    EXPECT_EQ(agreed("permessage-deflate; client_max_window_bits"), full);
    EXPECT_EQ(agreed("permessage-deflate; client_max_window_bits=10"), full);
    EXPECT_EQ(agreed("permessage-deflate;server_no_context_takeover;client_no_context_takeover"), full);
    EXPECT_EQ(agreed("permessage-deflate; server_max_window_bits=\"15\""), full);
    for (int bits = 8; bits <= 15; ++bits) {
        EXPECT_EQ(agreed("permessage-deflate; server_max_window_bits=" + std::to_string(bits))->server_window_bits, bits);
    }
    const auto handshake = accept(with({{"Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=9"}}));
    EXPECT_THAT(handshake->response,
                HasSubstr("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                          "client_no_context_takeover; server_max_window_bits=9\r\n"));
    const auto off = accept(with({{"Sec-WebSocket-Extensions", "permessage-deflate"}}), false);
    EXPECT_FALSE(off->deflate);
    EXPECT_THAT(off->response, Not(HasSubstr("Extensions")));
}

TEST(Handshake, DeclinesOffersItCannotKeepAndTakesTheNext) {
    for (const std::string_view offer :
         {"permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16",
          "permessage-deflate; server_max_window_bits=999", "permessage-deflate; server_max_window_bits=abc",
          "permessage-deflate; server_max_window_bits=010", "permessage-deflate; server_max_window_bits",
          "permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=1x",
          "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; unknown",
          "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "permessage-bzip2",
          "x-webkit-deflate-frame"}) {
        EXPECT_FALSE(agreed(offer)) << offer;
        EXPECT_TRUE(agreed(std::string(offer) + ", permessage-deflate")) << offer;
    }
    const auto two = accept(with({{"Sec-WebSocket-Extensions", "foo"}, {"Sec-WebSocket-Extensions", "permessage-deflate"}}));
    EXPECT_TRUE(two->deflate) << "spread over lines";
}

TEST(Handshake, RefusesExtensionsThatAreGarbage) {
    for (const std::string_view value : {"per message", "permessage-deflate; =8", "permessage-deflate; a=", ";",
                                         "permessage-deflate; a=\"", "permessage-deflate;;", "\x01", "a=b; \xff"}) {
        EXPECT_EQ(status(with({{"Sec-WebSocket-Extensions", value}})), 400) << value;
    }
}

}  // namespace
}  // namespace starling::codec::websocket
