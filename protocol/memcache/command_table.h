// protocol/memcache/command_table.h — every command by its name.
//
// Threads: any; never changes once built.

#pragma once

#include <string_view>

#include "protocol/memcache/command.h"

namespace larder::memcache {

// Null when there is no such command.  Lower case only.
const CommandSpec* FindCommand(std::string_view name);

}  // namespace larder::memcache
