// The WebSocket side of a loop: frames in, frames out, liveness and slow consumers.

#include "server/peer.h"

namespace starling::server {

namespace ws = codec::websocket;

namespace {

constexpr std::size_t kEchoBytes = 16 * 1024 * 1024;
constexpr Duration kCloseTimeout = 5s;
// Small frames and what is said to one peer gain nothing from compression.
constexpr std::size_t kCompressFrom = 256;

SharedBytes framed(ws::Opcode opcode, ByteView payload, ws::Rsv1 rsv1 = ws::Rsv1::clear) {
    char header[ws::kHeaderBytesMax];
    const std::size_t size = ws::encode_header(header, opcode, payload.size(), rsv1);
    return SharedBytes(ByteView(header, size), payload);
}

}  // namespace

void ShardLoop::on_websocket(Peer& peer, std::span<char> bytes) {
    const net::ConnectionId id = peer.id;
    if (peer.held) {
        peer.inbox.append(bytes.data(), bytes.size());
        return;
    }
    ws::ReaderLimits limits;
    limits.message_bytes = peer.kind == Peer::Kind::echo ? kEchoBytes : runtime_->settings->wire.frame_bytes;
    // Conformance suites send megabytes in fragments of 64 bytes.
    if (peer.kind == Peer::Kind::echo) { limits.fragments = 1 << 20; }
    while (true) {
        const ws::Event event = peer.reader.next(bytes, limits, &inflator_);
        bytes = bytes.subspan(event.consumed);
        using Kind = ws::Event::Kind;
        if (event.kind == Kind::none) { return; }
        if (event.kind == Kind::ping) {
            if (peer.kind != Peer::Kind::closing) { send_control(peer, ws::encode_frame(ws::Opcode::pong, event.payload)); }
        } else if (event.kind == Kind::close) {
            if (peer.kind == Peer::Kind::closing) {
                transport_.close_after_flush(id, 0s, now_.instant);
                return;
            }
            send_control(peer, ws::encode_close(event.code == close_code::no_status ? close_code::no_status : event.code));
            end_session(peer, event.code);
            peer.kind = Peer::Kind::closing;
            transport_.close_after_flush(id, kCloseTimeout, now_.instant);
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
        if (peer.held) {                     // `connect` is being asked about: the rest waits.
            peer.inbox.append(bytes.data(), bytes.size());
            return;
        }
    }
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
    const std::size_t limit = runtime_->settings->queue_bytes;
    const bool full = counts && transport_.queued_bytes(peer.id) + text.size() > limit;
    if (channel != 0 && (full || peer.latest.contains(channel))) {
        auto [it, fresh] = peer.latest.try_emplace(channel);
        if (!fresh) { ++it->second.skipped; }
        it->second.text = text;
        if (peer.latest.size() == 1 && fresh) { lagging_.push_back(peer.id); }
        return;
    }
    if (full) {
        ++counters_.slow_consumers;
        end_session(peer, close_code::too_slow);
        close_websocket(peer, close_code::too_slow, "queue_bytes is " + std::to_string(limit));
        return;
    }
    if (frames_->source.identity() != text.identity()) {
        frames_->source = text;
        frames_->plain = framed(ws::Opcode::text, text.view());
        frames_->deflated.clear();
    }
    if (peer.window_bits == 0 || !counts || text.size() < kCompressFrom) {
        transport_.send(peer.id, frames_->plain);
        return;
    }
    auto [it, fresh] = frames_->deflated.try_emplace(peer.window_bits);
    if (fresh) {
        const auto small = deflator_.deflate(text.view(), peer.window_bits);
        it->second = small ? framed(ws::Opcode::text, *small, ws::Rsv1::set) : frames_->plain;
    }
    transport_.send(peer.id, it->second);
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
        auto latest = std::move(peer->latest);
        peer->latest.clear();
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
    transport_.send(peer.id, SharedBytes(ByteView(ws::encode_close(code, reason))));
    peer.kind = Peer::Kind::closing;
    peer.close_code = code;
    peer.latest.clear();
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
    if (peer.held == held) { return; }
    peer.held = held;
    transport_.hold(peer.id, held);
    if (held || peer.inbox.empty()) { return; }
    std::string inbox = std::move(peer.inbox);
    peer.inbox.clear();
    if (peer.kind == Peer::Kind::http) {
        on_http(peer, inbox);
    } else {
        on_websocket(peer, inbox);
    }
}

}  // namespace starling::server
