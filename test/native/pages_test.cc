// Pages and sequences: who owns what, what can be found again, what truncate() takes back.
#include <algorithm>
#include <memory>
#include <set>

#include "model/pages.h"
#include "model/sequence.h"
#include "test.h"

using namespace tramontane;

namespace {

std::vector<int32_t> counting(int32_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) tokens[i] = first + i;
  return tokens;
}

// Writes and commits tokens in steps of `step` up to `length`; false when the pool ran out.
bool advance(Sequence& sequence, const std::vector<int32_t>& tokens, int32_t length, int32_t step) {
  while (sequence.committed() < length) {
    const int32_t rows = std::min(step, length - sequence.committed());
    if (!sequence.reserve(rows)) return false;
    sequence.add_written(rows);
    sequence.commit(tokens.data(), sequence.written());
  }
  return true;
}

}  // namespace

TEST("a windowed sequence holds at most R pages, however long it runs") {
  // W = 48, C = 1: ceil(47 / 32) + 1 = 3 pages.
  const SequenceLimits limits{48, 100000, 1};
  CHECK_EQ(pages_needed(limits, 100000, 1), 3);
  PagePool pool(3);
  Sequence sequence(pool, limits);
  const auto tokens = counting(20 * 48);
  int32_t most = 0;
  for (int32_t length = 1; length <= 20 * 48; ++length) {
    CHECK(advance(sequence, tokens, length, 1));
    most = std::max(most, sequence.pages_held());
  }
  CHECK_EQ(most, 3);
  sequence.release();
  CHECK_EQ(pool.in_use(), 0);
}

TEST("the ring holds every page a query of the step can see, for any window and step") {
  for (const int32_t window : {1, 31, 32, 33, 48, 64, 100}) {
    for (const int32_t step : {1, 2, 5, 31, 32, 33, 64, 100}) {
      const SequenceLimits limits{window, 4000, step};
      PagePool pool(200);
      Sequence sequence(pool, limits);
      const auto tokens = counting(1000);
      while (sequence.committed() < 900) {
        CHECK(sequence.reserve(step));
        const SequenceSlice slice = sequence.slice(0, step);
        const int32_t first = std::max(0, slice.position - window + 1) / kPageTokens;
        const int32_t last = (slice.position + step - 1) / kPageTokens;
        std::set<int32_t> pages;
        for (int32_t page = first; page <= last; ++page) {
          pages.insert(slice.pages[page % slice.page_count]);
        }
        // All of them different, so none was overwritten by another.
        CHECK_EQ(static_cast<int32_t>(pages.size()), last - first + 1);
        CHECK(*pages.begin() >= 0);
        sequence.add_written(step);
        sequence.commit(tokens.data(), sequence.written());
      }
    }
  }
}

TEST("memory of a windowed sequence is constant: pages that left are taken again first") {
  const SequenceLimits limits{48, 100000, 1};
  PagePool pool(1000);
  Sequence sequence(pool, limits);
  const auto tokens = counting(20 * 48);
  std::set<int32_t> touched;
  for (int32_t length = 1; length <= 20 * 48; ++length) {
    CHECK(advance(sequence, tokens, length, 1));
    const SequenceSlice slice = sequence.slice(0, 1);
    touched.insert(slice.pages[((length - 1) / kPageTokens) % slice.page_count]);
  }
  CHECK(touched.size() <= 4);
}

TEST("pages run out without a trace: reserve takes all or nothing") {
  PagePool pool(2);
  const SequenceLimits limits{0, 1000, 512};
  Sequence a(pool, limits), b(pool, limits);
  CHECK(a.reserve(33));
  CHECK(!b.reserve(1));
  CHECK_EQ(b.pages_held(), 0);
  a.release();
  CHECK_EQ(b.new_pages(64), 2);
  CHECK(b.reserve(64));
  CHECK(!b.reserve(65));
  CHECK_EQ(b.pages_held(), 2);
}

TEST("a prompt resumes where an equal one was computed, but its last token never") {
  PagePool pool(20);
  const SequenceLimits limits{0, 1000, 512};
  const auto tokens = counting(200);
  {
    Sequence first(pool, limits);
    CHECK(advance(first, tokens, 128, 512));
  }
  CHECK_EQ(pool.in_use(), 0);
  CHECK_EQ(pool.cached(), 4);
  const auto resumed = [&](int32_t count, int32_t limit) {
    Sequence next(pool, limits);
    return next.resume(next.find_cached(tokens.data(), count, limit));
  };
  CHECK_EQ(resumed(200, 200), 128);
  CHECK_EQ(resumed(129, 129), 128);
  CHECK_EQ(resumed(128, 128), 96);
  CHECK_EQ(resumed(200, 100), 96);
  CHECK_EQ(resumed(200, 31), 0);
  auto other = tokens;
  other[40] = 7;
  Sequence next(pool, limits);
  CHECK_EQ(next.resume(next.find_cached(other.data(), 200, 200)), 32);
}

TEST("a page is found only behind the same beginning, with the same adapter, scale and salt") {
  PagePool pool(20);
  const SequenceLimits limits{0, 1000, 512};
  auto tokens = counting(64);
  {
    Sequence first(pool, limits);
    CHECK(advance(first, tokens, 64, 64));
  }
  // The second page's tokens again, behind another first page.
  tokens[0] = 500;
  Sequence second(pool, limits);
  CHECK_EQ(second.resume(second.find_cached(tokens.data(), 64, 64)), 0);
  tokens[0] = 0;
  const PageKey adapter{1, 2}, other{1, 3};
  const auto found = [&](const PageKey& root) {
    Sequence sequence(pool, limits, root);
    return sequence.resume(sequence.find_cached(tokens.data(), 64, 64));
  };
  CHECK_EQ(found(PageKey::root(adapter, 1, 0)), 0);
  {
    Sequence adapted(pool, limits, PageKey::root(adapter, 1, 0));
    CHECK(advance(adapted, tokens, 64, 64));
  }
  CHECK_EQ(found(PageKey::root(adapter, 1, 0)), 32);
  CHECK_EQ(found(PageKey::root(other, 1, 0)), 0);
  CHECK_EQ(found(PageKey::root(adapter, 0.5f, 0)), 0);
  CHECK_EQ(found(PageKey::root(adapter, 1, 7)), 0);
  CHECK_EQ(found(PageKey::root(7)), 0);
  CHECK_EQ(found(PageKey::root()), 32);
}

TEST("a windowed prompt resumes though its early pages are gone") {
  PagePool pool(12);
  const SequenceLimits limits{48, 1000, 32};
  const auto tokens = counting(300);
  {
    Sequence first(pool, limits);
    CHECK(advance(first, tokens, 260, 32));
  }
  Sequence next(pool, limits);
  // 256 = 8 pages; a query at 256 sees 209.., so only pages 6 and 7 are needed.
  CHECK_EQ(next.resume(next.find_cached(tokens.data(), 300, 300)), 256);
  CHECK_EQ(next.pages_held(), 2);
  // Take every page there is: nothing old is found any more.
  next.release();
  std::vector<int32_t> all;
  for (int32_t page = pool.take(); page >= 0; page = pool.take()) all.push_back(page);
  CHECK_EQ(static_cast<int32_t>(all.size()), 12);
  CHECK_EQ(pool.cached(), 0);
  CHECK_EQ(next.resume(next.find_cached(tokens.data(), 300, 300)), 0);
  for (const int32_t page : all) pool.release(page, Reuse::kLast);
}

TEST("a shared page survives one owner, and is given out only after the last") {
  PagePool pool(4);
  const SequenceLimits limits{0, 1000, 512};
  const auto tokens = counting(40);
  auto first = std::make_unique<Sequence>(pool, limits);
  CHECK(advance(*first, tokens, 40, 40));
  Sequence second(pool, limits);
  CHECK_EQ(second.resume(second.find_cached(tokens.data(), 40, 40)), 32);
  CHECK_EQ(pool.in_use(), 2);
  first.reset();
  CHECK_EQ(pool.in_use(), 1);
  const int32_t shared = second.slice(0, 1).pages[0];
  for (int32_t page = pool.take(); page >= 0; page = pool.take()) CHECK(page != shared);
}

TEST("cached pages are reused oldest first, and of one sequence its end first") {
  PagePool pool(4);
  const SequenceLimits limits{0, 1000, 512};
  const auto a = counting(64), b = counting(64, 1000);
  for (const auto* tokens : {&a, &b}) {
    Sequence sequence(pool, limits);
    CHECK(advance(sequence, *tokens, 64, 64));
  }
  CHECK_EQ(pool.cached(), 4);
  const int32_t taken = pool.take();
  Sequence again(pool, limits);
  CHECK_EQ(again.resume(again.find_cached(a.data(), 64, 64)),
           32);  // a's second page was taken, its first is there.
  Sequence other(pool, limits);
  auto longer = b;
  longer.push_back(1);
  CHECK_EQ(other.resume(other.find_cached(longer.data(), 65, 65)), 64);
  pool.release(taken, Reuse::kFirst);
}

TEST("emptied pages are the ones nobody owns, cannot be found any more, and are used again") {
  PagePool pool(6);
  const SequenceLimits limits{0, 1000, 512};
  const auto tokens = counting(96), others = counting(64, 500);
  auto ended = std::make_unique<Sequence>(pool, limits);
  CHECK(advance(*ended, tokens, 96, 96));
  Sequence running(pool, limits);
  CHECK(advance(running, others, 64, 64));
  ended.reset();
  CHECK_EQ(pool.cached(), 3);
  CHECK_EQ(pool.touched(), 5);
  // Of one sequence its end goes first, as when pages are taken.
  const auto first = pool.empty(1);
  CHECK_EQ(static_cast<int32_t>(first.size()), 1);
  CHECK_EQ(pool.cached(), 2);
  CHECK_EQ(pool.touched(), 4);
  {
    Sequence started(pool, limits);
    CHECK_EQ(started.resume(started.find_cached(tokens.data(), 96, 96)), 64);
  }
  CHECK_EQ(static_cast<int32_t>(pool.empty(100).size()), 2);
  CHECK_EQ(pool.cached(), 0);
  CHECK_EQ(pool.touched(), 2);
  CHECK_EQ(pool.available(), 4);
  Sequence again(pool, limits);
  CHECK_EQ(again.resume(again.find_cached(tokens.data(), 96, 96)), 0);
  CHECK(again.reserve(128));
  CHECK_EQ(pool.touched(), 6);
  CHECK_EQ(pool.available(), 0);
}

TEST("a large pool, context and window take memory as they are used") {
  PagePool pool(1 << 25);
  const SequenceLimits unbounded{0, 1 << 30, 512}, windowed{1 << 29, 1 << 30, 512};
  Sequence first(pool, unbounded), second(pool, windowed);
  const auto tokens = counting(320);
  for (Sequence* sequence : {&first, &second}) {
    CHECK(advance(*sequence, tokens, 320, 64));
    CHECK_EQ(sequence->slice(0, 1).page_count, 10);
  }
}

TEST("truncate gives back exactly the pages beyond, at every page border") {
  for (const int32_t window : {0, 48}) {
    for (int32_t committed = 30; committed <= 130; ++committed) {
      PagePool pool(20);
      const SequenceLimits limits{window, 1000, 80};
      Sequence sequence(pool, limits);
      const auto tokens = counting(400);
      CHECK(advance(sequence, tokens, committed, 10));
      const int32_t held = sequence.pages_held();
      for (const int32_t drafts : {1, 2, 31, 32, 33, 64, 80}) {
        CHECK(sequence.reserve(drafts));
        sequence.add_written(drafts);
        sequence.truncate(committed);
        CHECK_EQ(sequence.written(), committed);
        CHECK_EQ(sequence.pages_held(), held);
        CHECK_EQ(pool.in_use(), held);
      }
      CHECK(sequence.reserve(80));
      sequence.add_written(80);
      sequence.truncate(committed + 40);
      sequence.commit(tokens.data(), committed + 40);
      CHECK(advance(sequence, tokens, committed + 100, 80));
      sequence.release();
      CHECK_EQ(pool.in_use(), 0);
    }
  }
}

TEST(
    "a prompt takes over pages that another one has computed since, also where a window recycles") {
  for (const int32_t window : {0, 48}) {
    PagePool pool(40);
    const SequenceLimits limits{window, 1000, 128};
    Sequence ahead(pool, limits), behind(pool, limits), wanting(pool, limits);
    const auto tokens = counting(400);
    CHECK(advance(behind, tokens, 32, 32));
    CHECK(advance(wanting, tokens, 32, 32));
    CHECK(advance(ahead, tokens, 100, 50));
    behind.catch_up(tokens.data(), 97, 96);
    CHECK_EQ(behind.committed(), 96);
    CHECK_EQ(behind.pages_held(), window == 0 ? 3 : 2);
    CHECK(advance(behind, tokens, 97, 1));
    // Never the last token, and nothing whose logits are wanted.
    wanting.catch_up(tokens.data(), 400, 70);
    CHECK_EQ(wanting.committed(), 64);
    wanting.catch_up(tokens.data(), 96, 400);
    CHECK_EQ(wanting.committed(), 64);
  }
}
