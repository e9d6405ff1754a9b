#include "net/transport.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace starling::net {
namespace {

int dial(std::uint16_t port) {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return descriptor;
}

// Waits until an event of that kind comes; reads whatever is readable on the way.
Event await(Transport& transport, Event::Kind kind, std::string* read = nullptr) {
    std::vector<Event> pending;
    for (int i = 0; i < 1000; ++i) {
        std::vector<Event> events;
        transport.wait(100ms, events);
        for (const Event& event : events) {
            if (event.kind == Event::Kind::readable) {
                const auto bytes = transport.read(event.connection);
                if (read != nullptr) { read->append(bytes.data(), bytes.size()); }
                if (kind == Event::Kind::readable && !bytes.empty()) { return event; }
            }
            if (event.kind == kind && kind != Event::Kind::readable) { return event; }
        }
    }
    ADD_FAILURE() << "no such event";
    return {};
}

struct Met { int client = -1; ConnectionId connection; };
// A client at a new listener of the transport, accepted.
Met meet(Transport& transport) {
    const auto port = transport.listen("127.0.0.1", 0, 1);
    EXPECT_TRUE(port);
    const int client = dial(port.value_or(0));
    return {client, await(transport, Event::Kind::accepted).connection};
}

TEST(Transport, CarriesBytesBothWays) {
    Transport transport;
    const auto port = transport.listen("127.0.0.1", 0, 7);
    ASSERT_TRUE(port);
    const int client = dial(*port);
    const Event accepted = await(transport, Event::Kind::accepted);
    EXPECT_EQ(accepted.listener, 7U);
    ASSERT_EQ(::send(client, "hello", 5, 0), 5);
    std::string got;
    EXPECT_EQ(await(transport, Event::Kind::readable, &got).connection, accepted.connection);
    EXPECT_EQ(got, "hello");
    transport.send(accepted.connection, SharedBytes("he", "y"));
    transport.send(accepted.connection, SharedBytes("!"));
    EXPECT_EQ(transport.queued_bytes(accepted.connection), 4U);
    transport.flush();
    EXPECT_EQ(transport.queued_bytes(accepted.connection), 0U);
    char buffer[8] = {};
    EXPECT_EQ(::recv(client, buffer, 4, MSG_WAITALL), 4);
    EXPECT_STREQ(buffer, "hey!");
    ::close(client);
    EXPECT_EQ(await(transport, Event::Kind::closed).connection, accepted.connection);
    EXPECT_EQ(transport.connection_count(), 0U);
}

TEST(Transport, FullOfNewcomersStillConnectsToOthers) {
    Transport transport;
    const auto port = transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    std::vector<int> clients;
    for (int i = 0; i < 100; ++i) { clients.push_back(dial(*port)); }
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = ::dup(clients.back());
    ::close(next);
    const rlimit narrow{static_cast<rlim_t>(next) + 50, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &narrow), 0);
    std::vector<Event> events;
    for (int i = 0; i < 10; ++i) { transport.wait(10ms, events); }
    EXPECT_EQ(events.size(), 50 - 32U);
    // Whoever was too many is hung up on; who is here stays.
    char byte = 0;
    EXPECT_EQ(::recv(clients.back(), &byte, 1, 0), 0);
    EXPECT_LT(::recv(clients.front(), &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_EQ(errno, EAGAIN);
    Transport other;
    const auto elsewhere = other.listen("127.0.0.1", 0, 2);
    EXPECT_TRUE(elsewhere);
    const ConnectionId ours = transport.connect("127.0.0.1", *elsewhere, nullptr);
    EXPECT_EQ(await(transport, Event::Kind::connected).connection, ours);
    ::setrlimit(RLIMIT_NOFILE, &before);
    for (const int client : clients) { ::close(client); }
}

TEST(Transport, TakesAProxyHeaderOffHoweverItComes) {
    Transport transport;
    const auto port = transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    const std::string header = "PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n";
    for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{20}, header.size()}) {
        const int client = dial(*port);
        const Event accepted = await(transport, Event::Kind::accepted);
        transport.expect_proxy_header(accepted.connection);
        EXPECT_EQ(transport.peer_address(accepted.connection), "127.0.0.1");
        if (cut != 0) {
            ASSERT_EQ(::send(client, header.data(), cut, 0), static_cast<ssize_t>(cut));
            std::vector<Event> events;
            transport.wait(1s, events);
            ASSERT_EQ(events.size(), 1U);
            EXPECT_TRUE(transport.read(accepted.connection).empty());
        }
        const std::string rest = header.substr(cut) + "hello";
        ASSERT_EQ(::send(client, rest.data(), rest.size(), 0), static_cast<ssize_t>(rest.size()));
        std::string got;
        await(transport, Event::Kind::readable, &got);
        EXPECT_EQ(got, "hello");
        EXPECT_EQ(transport.peer_address(accepted.connection), "192.0.2.7");
        ::close(client);
        await(transport, Event::Kind::closed);
    }
}

TEST(Transport, EndsAConnectionWhoseProxyHeaderIsMalformed) {
    Transport transport;
    const auto [client, connection] = meet(transport);
    transport.expect_proxy_header(connection);
    ASSERT_EQ(::send(client, "PROXY x\r\n", 9, 0), 9);
    EXPECT_EQ(await(transport, Event::Kind::closed).connection, connection);
    ::close(client);
}

TEST(Transport, GivesASlotAwayOnlyAfterItsEndWasTold) {
    Transport transport;
    const auto port = transport.listen("127.0.0.1", 0, 1);
    ASSERT_TRUE(port);
    const int first = dial(*port);
    const Event accepted = await(transport, Event::Kind::accepted);
    ::close(first);
    // The end is read here, and a newcomer arrives before the next wait.
    std::vector<Event> events;
    transport.wait(10s, events);
    for (const Event& event : events) {
        if (event.kind == Event::Kind::readable) { EXPECT_TRUE(transport.read(event.connection).empty()); }
    }
    const int second = dial(*port);
    bool told = false;
    bool newcomer = false;
    for (int i = 0; i < 1000 && !(told && newcomer); ++i) {
        events.clear();
        transport.wait(100ms, events);
        for (const Event& event : events) {
            if (event.kind == Event::Kind::closed) { told = told || event.connection == accepted.connection; }
            if (event.kind == Event::Kind::accepted) {
                newcomer = true;
                if (!told) { EXPECT_NE(event.connection.slot, accepted.connection.slot); }
            }
        }
    }
    EXPECT_TRUE(told);
    EXPECT_TRUE(newcomer);
    ::close(second);
}

TEST(Transport, QueuesWhatTheKernelDoesNotTakeAndGoesOnLater) {
    Transport transport;
    const auto [client, connection] = meet(transport);
    const SharedBytes block(std::string(1 << 20, 'x'));
    for (int i = 0; i < 32; ++i) { transport.send(connection, block); }
    transport.flush();
    EXPECT_GT(transport.queued_bytes(connection), 0U);
    std::size_t got = 0;
    std::vector<char> buffer(1 << 20);
    while (got < 32U << 20) {
        std::vector<Event> events;
        transport.wait(1ms, events);
        const ssize_t count = ::recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (count > 0) { got += static_cast<std::size_t>(count); }
    }
    EXPECT_EQ(transport.queued_bytes(connection), 0U);
    ::close(client);
}

TEST(Transport, EndsWhoHasSaidItsLastWordAfterOurs) {
    Transport transport;
    const auto [client, connection] = meet(transport);
    transport.send(connection, SharedBytes("bye"));
    transport.end_after_flush(connection, 10s, Instant{});
    transport.end_after_flush(connection, 10s, Instant{});
    EXPECT_EQ(await(transport, Event::Kind::closed).connection, connection);
    EXPECT_EQ(transport.connection_count(), 0U);
    char buffer[8] = {};
    EXPECT_EQ(::recv(client, buffer, sizeof buffer, MSG_WAITALL), 3);
    EXPECT_STREQ(buffer, "bye");
    ::close(client);
}

TEST(Transport, EndsWhoDoesNotReadOurLastWordWhenItsTimeIsOver) {
    Transport transport;
    const auto [client, connection] = meet(transport);
    transport.send(connection, SharedBytes(ByteView(std::string(16 << 20, 'x'))));
    transport.end_after_flush(connection, 10s, Instant{});
    transport.flush();
    transport.expire(Instant{} + 9s);
    EXPECT_EQ(transport.connection_count(), 1U);
    transport.expire(Instant{} + 10s);
    EXPECT_EQ(await(transport, Event::Kind::closed).connection, connection);
    ::close(client);
}

TEST(Transport, SendsSmallPiecesAtOnce) {
    Transport transport;
    const auto [client, connection] = meet(transport);
    // Ours is the descriptor of this process whose peer is the client.
    sockaddr_in mine{};
    socklen_t size = sizeof mine;
    ASSERT_EQ(::getsockname(client, reinterpret_cast<sockaddr*>(&mine), &size), 0);
    int served = -1;
    for (int descriptor = 0; descriptor < 1024 && served < 0; ++descriptor) {
        sockaddr_in peer{};
        size = sizeof peer;
        if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.sin_port == mine.sin_port) { served = descriptor; }
    }
    int no_delay = 0;
    size = sizeof no_delay;
    ASSERT_EQ(::getsockopt(served, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
    EXPECT_NE(no_delay, 0);
    ::close(client);
}

// With and without the ring alike: those who read, one who does not and one who has gone.
TEST(Transport, SweepsOneFrameToMany) {
    for (const bool by_ring : {false, true}) {
        Transport transport;
        if (by_ring && !transport.use_send_ring()) {
            GTEST_SKIP() << "no io_uring here";
        }
        const auto port = transport.listen("127.0.0.1", 0, 1);
        ASSERT_TRUE(port);
        std::vector<int> clients;
        std::vector<ConnectionId> ids;
        for (int i = 0; i < 600; ++i) {
            clients.push_back(dial(*port));
            ids.push_back(await(transport, Event::Kind::accepted).connection);
        }
        std::vector<std::string> frames;
        std::size_t sent = 0;
        // Until the kernel takes no more for the one who does not read: some frames go in part,
        // some wait.
        for (int round = 0; transport.queued_bytes(ids[5]) == 0; ++round) {
            ASSERT_LT(round, 1000);
            const std::string body(100'000, static_cast<char>('a' + round % 26));
            const SharedBytes frame(body);
            for (std::size_t i = 0; i < ids.size(); ++i) {
                if (i < 16 || round == 0) {
                    transport.send(ids[i], frame);
                }
            }
            transport.flush();
            sent += body.size();
            for (std::size_t i = 0; i < clients.size(); ++i) {
                if (i == 5 || (i >= 16 && round != 0)) {
                    continue;
                }
                std::string got(body.size(), '\0');
                ASSERT_EQ(::recv(clients[i], got.data(), got.size(), MSG_WAITALL),
                          static_cast<ssize_t>(got.size()));
                ASSERT_EQ(got, body) << "client " << i << ", round " << round;
            }
            frames.push_back(body);
        }
        // The slow one reads at last: all of it, in order.
        std::string all;
        std::vector<char> buffer(1 << 20);
        while (all.size() < sent) {
            std::vector<Event> events;
            transport.wait(1ms, events);
            const ssize_t count = ::recv(clients[5], buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (count > 0) {
                all.append(buffer.data(), static_cast<std::size_t>(count));
            }
        }
        std::string expected;
        for (const std::string& body : frames) {
            expected += body;
        }
        EXPECT_TRUE(all == expected);
        // One goes by a reset, and the sweep that finds it out tells of its end and spoils nothing.
        const linger hard{1, 0};
        ::setsockopt(clients[7], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        ::close(clients[7]);
        for (const ConnectionId id : ids) {
            transport.send(id, SharedBytes("bye"));
        }
        transport.flush();
        EXPECT_EQ(await(transport, Event::Kind::closed).connection, ids[7]);
        for (std::size_t i = 0; i < clients.size(); ++i) {
            if (i == 7) {
                continue;
            }
            char bye[4] = {};
            ASSERT_EQ(::recv(clients[i], bye, 3, MSG_WAITALL), 3);
            ASSERT_STREQ(bye, "bye");
            ::close(clients[i]);
        }
    }
}

}  // namespace
}  // namespace starling::net
