// tests/fuzz/datagram_fuzz.cc — a UDP datagram of any bytes: its frame, the conversation in it, and
// the limit of what it can make a server say.
//
// kSwell stands for many bytes (see swell.h).

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/datagram_frame.h"
#include "server/datagram_port.h"
#include "tests/fuzz/swell.h"
#include "tests/fuzz/twins.h"

namespace larder::test {
namespace {

constexpr size_t kLimit = 8192;

void Serve(std::string_view datagram) {
  static World& world = *new World(Tiny());  // never freed
  static ReplyBuffer& reply = *new ReplyBuffer;
  const auto request = server::ReadDatagram(datagram);
  if (!request) return;
  const auto session =
      memcache::MakeSession(world.store, world.context, world.host, world.session_options);
  std::string text;
  (void)server::Converse(*session, request->payload, kLimit, reply, &text);
  if (text.size() > kLimit) std::abort();
  reply.Clear();
  static unsigned served = 0;
  constexpr unsigned kEvery = 2048;
  if (++served % kEvery == 0) Age(world);
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  larder::test::Serve(larder::test::Swell({reinterpret_cast<const char*>(data), size}));
  return 0;
}
