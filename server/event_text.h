// server/event_text.h — an event as the line that memcached's `watch` prints of it.
//
// Threads: the logger's; not for the hot path.

#pragma once

#include <string>
#include <string_view>

#include "server/event_ring.h"

namespace larder::server {

// Appends the line, '\n' included.
void AppendEventLine(const EventRing::Record& record, std::string_view text, std::string& out);

// Appends what -vv prints of a request, a reply, or a client that comes or goes: "<25 get foo",
// ">25 END"; without a line end.
void AppendConversation(const EventRing::Record& record, std::string_view text, std::string& out);

}  // namespace larder::server
