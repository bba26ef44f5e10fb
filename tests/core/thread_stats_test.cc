#include "core/thread_stats.h"

#include <catch2/catch.hpp>

using namespace larder;

TEST_CASE("sums are over every class there is, the last one included", "[core][stats]") {
  StatsRegistry registry;
  const size_t count = GENERATE(as<size_t>{}, 2, 64, kMaxClasses);
  registry.SetClasses(count);
  ThreadStats* const one = registry.NewCell();
  ThreadStats* const other = registry.NewCell();
  one->Add(ClassCounter::linked, 1, 3);
  other->Add(ClassCounter::linked, count - 1, 4);
  other->Add(ThreadCounter::get_misses, 5);
  CHECK((*registry.Totals())[ClassCounter::linked] == 7);
  CHECK(registry.Totals()->Class(ClassCounter::linked, count - 1) == (count == 2 ? 7 : 4));
  CHECK(registry.Totals()->cmd_get() == 5);
  registry.Reset();
  one->Add(ClassCounter::linked, count - 1);
  CHECK((*registry.Totals())[ClassCounter::linked] == 1);
  CHECK((*registry.Lifetime())[ClassCounter::linked] == 8);
}
