// The WebSocket side of a loop: frames in, frames out, liveness and slow consumers.

#include <limits>
#include <utility>

#include "server/peer.h"

namespace starling::server {

namespace ws = codec::websocket;

namespace {

constexpr std::size_t kEchoBytes = 16 * 1024 * 1024;
constexpr Duration kCloseTimeout = 5s;
constexpr std::uint16_t kPolicyViolation = 1008;
// Pings and pongs of one peer in a second. No client needs two; suites send dozens at once.
constexpr std::uint32_t kControlAnswered = 64;
constexpr std::uint32_t kControlMax = 1000;
// Small frames and what is said to one peer gain nothing from compression.
constexpr std::size_t kCompressFrom = 256;

SharedBytes framed(ws::Opcode opcode, ByteView payload, ws::Rsv1 rsv1 = ws::Rsv1::clear) {
    char header[ws::kHeaderBytesMax];
    const std::size_t size = ws::encode_header(header, opcode, payload.size(), rsv1);
    return SharedBytes(ByteView(header, size), payload);
}

}  // namespace

void ShardLoop::on_websocket(Peer& peer, std::span<char> bytes) {
    if (peer.held) {
        peer.more.need().inbox.append(bytes.data(), bytes.size());
        return;
    }
    // Between messages a connection keeps no reader.
    const net::ConnectionId id = peer.id;
    const auto compression = peer.window_bits == 0 ? ws::Compression::none : ws::Compression::deflate;
    ws::Reader reader = peer.more.peek().reader ? std::move(*peer.more.need().reader) : ws::Reader(compression);
    if (peer.more.peek().reader) { peer.more.need().reader.reset(); }
    read_frames(peer, reader, bytes);
    if (find(id) != &peer) { return; }
    if (!reader.idle()) { peer.more.need().reader = std::move(reader); }
    peer.trim();
}

void ShardLoop::read_frames(Peer& peer, ws::Reader& reader, std::span<char> bytes) {
    const net::ConnectionId id = peer.id;
    ws::ReaderLimits limits;
    limits.message_bytes = peer.kind == Peer::Kind::echo ? kEchoBytes : runtime_->settings->wire.frame_bytes;
    // Conformance suites send megabytes in fragments of 64 bytes.
    if (peer.kind == Peer::Kind::echo) { limits.fragments = 1 << 20; }
    std::optional<std::string> last_ping;
    while (true) {
        const ws::Event event = reader.next(bytes, limits, &inflator_);
        bytes = bytes.subspan(event.consumed);
        using Kind = ws::Event::Kind;
        if (event.kind == Kind::none) {
            // RFC 6455 §5.5.3: a pong for the latest ping alone will do.
            if (last_ping) { send_control(peer, ws::encode_frame(ws::Opcode::pong, *last_ping)); }
            return;
        }
        if (event.kind == Kind::ping || event.kind == Kind::pong) {
            if (peer.kind == Peer::Kind::closing) { continue; }
            const Flood flood = count_control(peer);
            if (flood == Flood::too_many) {
                end_session(peer, kPolicyViolation);
                close_websocket(peer, kPolicyViolation, "too many pings or pongs");
                perform();
                if (find(id) == &peer) { transport_.close_after_flush(id, kCloseTimeout, now_.instant); }
                return;
            }
            if (event.kind == Kind::pong) { continue; }
            if (flood == Flood::pongs_wait) {
                last_ping = event.payload;
            } else {
                send_control(peer, ws::encode_frame(ws::Opcode::pong, event.payload));
            }
        } else if (event.kind == Kind::close) {
            if (peer.kind == Peer::Kind::closing) {
                transport_.end_after_flush(id, 0s, now_.instant);
                return;
            }
            send_control(peer, ws::encode_close(event.code == close_code::no_status ? close_code::no_status : event.code));
            end_session(peer, event.code);
            peer.kind = Peer::Kind::closing;
            transport_.end_after_flush(id, kCloseTimeout, now_.instant);
            perform();
            return;
        } else if (event.kind == Kind::error) {
            if (peer.kind == Peer::Kind::closing) {
                transport_.close_after_flush(id, 0s, now_.instant);
                return;
            }
            if (peer.kind == Peer::Kind::native && event.code == close_code::too_large && peer.session) {
                shard_.on_refused(*peer.session,
                                  {ErrorCode::too_large, "frame: the limit frame_bytes is " +
                                                             std::to_string(limits.message_bytes)},
                                  event.code, now_, effects_);
                perform();
            } else {
                end_session(peer, event.code);
                close_websocket(peer, event.code, event.payload);
                perform();
            }
            // The stream cannot be read any further, so the peer's close frame would not be understood.
            if (find(id) != nullptr) { transport_.close_after_flush(id, kCloseTimeout, now_.instant); }
            return;
        } else if (event.kind == Kind::text || event.kind == Kind::binary) {
            if (peer.kind == Peer::Kind::echo) { on_echo(peer, event); }
            if (peer.kind == Peer::Kind::native) { on_native(peer, event); }
        }
        if (find(id) != &peer) { return; }
        stall_if_full(peer);
        if (peer.held) {                     // `connect` is being asked about, say: the rest waits.
            peer.more.need().inbox.append(bytes.data(), bytes.size());
            return;
        }
    }
}

ShardLoop::Flood ShardLoop::count_control(Peer& peer) {
    if (now_.instant >= peer.control_since + 1s) {
        peer.control_since = now_.instant;
        peer.control_frames = 0;
    }
    ++peer.control_frames;
    if (peer.control_frames > kControlMax) { return Flood::too_many; }
    return peer.control_frames > kControlAnswered ? Flood::pongs_wait : Flood::no;
}

void ShardLoop::on_echo(Peer& peer, const ws::Event& event) {
    const auto opcode = event.kind == ws::Event::Kind::text ? ws::Opcode::text : ws::Opcode::binary;
    if (peer.window_bits != 0) {
        if (const auto small = deflator_.deflate(event.payload, peer.window_bits)) {
            transport_.send(peer.id, framed(opcode, *small, ws::Rsv1::set));
            return;
        }
    }
    transport_.send(peer.id, framed(opcode, event.payload));
}

void ShardLoop::on_native(Peer& peer, const ws::Event& event) {
    if (event.kind == ws::Event::Kind::binary) {
        end_session(peer, close_code::unsupported_data);
        close_websocket(peer, close_code::unsupported_data, "text frames only");
    } else {
        shard_.on_text(*peer.session, event.payload, now_, effects_);
    }
    perform();
}

void ShardLoop::send_text(domain::SessionId session, const SharedBytes& text, bool counts, std::uint32_t channel) {
    if (Peer* peer = peer_of(session)) { send_frame(*peer, text, counts, channel); }
}

void ShardLoop::send_frame(Peer& peer, const SharedBytes& text, bool counts, std::uint32_t channel) {
    const std::size_t limit = counts ? runtime_->settings->queue_bytes : std::numeric_limits<std::size_t>::max();
    const bool lags = channel != 0 && peer.more.peek().latest.contains(channel);
    if (!lags && transport_.send_within(peer.id, frame_for(peer, text, counts), limit)) { return; }
    if (channel != 0) {
        auto& latest = peer.more.need().latest;
        auto [it, fresh] = latest.try_emplace(channel);
        if (!fresh) { ++it->second.skipped; }
        it->second.text = text;
        if (latest.size() == 1 && fresh) { lagging_.push_back(peer.id); }
        return;
    }
    ++counters_.slow_consumers;
    end_session(peer, close_code::too_slow);
    close_websocket(peer, close_code::too_slow, "queue_bytes is " + std::to_string(limit));
}

// Made once for all who get the same text the same way.
const SharedBytes& ShardLoop::frame_for(const Peer& peer, const SharedBytes& text, bool counts) {
    if (frames_->source.identity() != text.identity()) {
        frames_->source = text;
        frames_->plain = framed(ws::Opcode::text, text.view());
        frames_->deflated.clear();
    }
    if (peer.window_bits == 0 || !counts || text.size() < kCompressFrom) { return frames_->plain; }
    auto [it, fresh] = frames_->deflated.try_emplace(peer.window_bits);
    if (fresh) {
        const auto small = deflator_.deflate(text.view(), peer.window_bits);
        it->second = small ? framed(ws::Opcode::text, *small, ws::Rsv1::set) : frames_->plain;
    }
    return it->second;
}

// Those whose queue has room again get the latest of each channel, and how many it stands for.
void ShardLoop::serve_lagging() {
    std::vector<net::ConnectionId> still;
    for (const net::ConnectionId id : lagging_) {
        Peer* peer = find(id);
        if (peer == nullptr || peer->kind != Peer::Kind::native) { continue; }
        if (transport_.queued_bytes(id) > runtime_->settings->queue_bytes / 2) {
            still.push_back(id);
            continue;
        }
        auto latest = std::move(peer->more.need().latest);
        peer->more.need().latest.clear();
        for (auto& [channel, entry] : latest) {
            std::string text(entry.text.view());
            if (entry.skipped != 0) {
                text.pop_back();             // A frame is one object: its last byte is the brace.
                text += ",\"skipped\":" + std::to_string(entry.skipped) + "}";
            }
            send_frame(*peer, SharedBytes(ByteView(text)), true, 0);
        }
    }
    lagging_ = std::move(still);
}

void ShardLoop::send_control(Peer& peer, std::string frame) {
    // A peer that pings without reading is slow like any other: nothing more is queued for it.
    if (transport_.queued_bytes(peer.id) > runtime_->settings->queue_bytes * 2) { return; }
    transport_.send(peer.id, SharedBytes(ByteView(frame)));
}

void ShardLoop::close_websocket(Peer& peer, std::uint16_t code, std::string_view reason) {
    if (peer.kind == Peer::Kind::closing) { return; }
    ++counters_.closed[code];
    log_refusal(peer, "connection_closed", code, reason);
    transport_.send(peer.id, SharedBytes(ByteView(ws::encode_close(code, reason))));
    peer.kind = Peer::Kind::closing;
    peer.close_code = code;
    if (!peer.more.peek().latest.empty()) { peer.more.need().latest.clear(); }
    peer.stalled = false;
    hold(peer, false);
    if (find(peer.id) == &peer) { schedule(peer, now_.instant + kCloseTimeout); }
}

// The domain forgets the session; the connection may live on until its close handshake is over.
void ShardLoop::end_session(Peer& peer, std::uint16_t code) {
    if (!peer.session) { return; }
    const domain::SessionId session = *peer.session;
    peer.session.reset();
    shard_.on_closed(session, code, now_, effects_);
}

void ShardLoop::hold(Peer& peer, bool held) {
    peer.waits = held;
    // What it was answered meanwhile is in its queue now.
    if (!held) { stall_if_full(peer); }
    settle_hold(peer);
}

// Answers do not count against the queue, so a peer that asks and does not read is asked to wait: nothing
// more is read from it until half of what may queue is free again.
bool ShardLoop::stall_if_full(Peer& peer) {
    const std::size_t queued = transport_.queued_bytes(peer.id);
    if (peer.stalled || peer.kind == Peer::Kind::closing || queued <= runtime_->settings->queue_bytes) { return peer.stalled; }
    peer.stalled = true;
    peer.more.need().stalled_bytes = queued;
    stalled_.push_back(peer.id);
    settle_hold(peer);
    return true;
}

bool ShardLoop::has_room(net::ConnectionId id) const {
    return transport_.queued_bytes(id) <= runtime_->settings->queue_bytes / 2;
}

void ShardLoop::serve_stalled() {
    std::vector<net::ConnectionId> still;
    for (const net::ConnectionId id : std::exchange(stalled_, {})) {
        Peer* peer = find(id);
        if (peer == nullptr || !peer->stalled) { continue; }
        const std::size_t queued = transport_.queued_bytes(id);
        // It reads, slowly: that is a sign of life like any other.
        if (queued < peer->more.peek().stalled_bytes) { peer->last_received = now_.instant; }
        peer->more.need().stalled_bytes = queued;
        if (!has_room(id) && peer->kind != Peer::Kind::closing) {
            still.push_back(id);
            continue;
        }
        peer->stalled = false;
        settle_hold(*peer);
        perform();
    }
    stalled_.insert(stalled_.end(), still.begin(), still.end());
}

void ShardLoop::settle_hold(Peer& peer) {
    const bool held = peer.waits || peer.stalled;
    if (peer.held == held) { return; }
    peer.held = held;
    transport_.hold(peer.id, held);
    if (held || peer.more.peek().inbox.empty()) { return; }
    std::string inbox = std::move(peer.more.need().inbox);
    peer.more.need().inbox.clear();
    if (peer.kind == Peer::Kind::http) {
        on_http(peer, inbox);
    } else {
        on_websocket(peer, inbox);
    }
}

}  // namespace starling::server
