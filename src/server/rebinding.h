#pragma once
// A page of another site can make a browser speak to a port of this machine, by a name of its own that it lets point
// here (DNS rebinding); for the browser that is the page's own origin. The name stays in Host, and gives it away.

#include <string_view>

namespace starling::server {

// Whether `host`, a Host header, is another's name for a listener on loopback: one that is neither an address nor
// "localhost". A listener that the network reaches has names that we do not know, so there nobody is refused.
bool is_rebound(std::string_view listener, std::string_view host);

}  // namespace starling::server
