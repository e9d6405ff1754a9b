#pragma once
// The scripts that run inside Redis: each is one atomic step of the protocol between nodes (docs/CLUSTER.md).
// None reads a clock or draws randomness; KEYS[1] is the partition's counter `<prefix>:{tag}:n`, from which every
// other key of the partition is made.

#include "engine/script.h"

namespace starling::engine::scripts {

// ARGV: publish command, iid, oseq, state, epoch, tag, then for each channel: channel, count, and so many operations of
// 6 words each (kind + - c u l, user, hash, connectedAt, version, data with '1' or 'f' or '0' before it); no channel: a beat.
// -> {status OK|DUP|NOLEASE|FENCED|OPGAP, o, digest, n, {epoch, version of each channel}, leases, np}
// A lease is five words: iid, o, state, address, constants; only a beat answers them, n and np.
const Script& apply();
// ARGV: iid, address, constants -> as apply() for a beat.
const Script& reg();
// ARGV: publish command, iid, expected o ("": one's own), epoch, tag -> {DONE|MORE|MOVED}
const Script& reap();
// ARGV: epoch for logs, members at most, then for each channel: channel, history size
// -> for each {epoch, version, tag, digest, log epoch, offset, id, acknowledged, count, members (user, record, ...) or {}},
//    or nil where it is to be asked again, for the members before it were many.
const Script& snap();
// ARGV: channel, users -> for each the list of the incarnations that hold it.
const Script& holders();
// ARGV: 1 to keep logs alive or 0, then for each channel: channel, what of it (m members, l log, b both)
// -> {fields: of each channel epoch, version, digest with m, and log epoch, offset, id with l}
const Script& meta();
// ARGV: publish command, channel, id, body, except, size, ttl ms, epoch, key ("": none), key ttl ms
// -> {duplicate 0|1, id, epoch, offset}
const Script& publish();
// ARGV: channel, from (offset, inclusive), to ("+" or offset), count, reverse 0|1, size, epoch
// -> {log epoch, offset, id, acknowledged, {offset, id, before, body, ...} in the order of reading}
const Script& read();
// ARGV: publish command, channel, epoch -> {epoch}
const Script& erase();
// ARGV: publish command, channel, offset, except, epoch -> {newest, acknowledged}
const Script& acknowledge();

}  // namespace starling::engine::scripts
