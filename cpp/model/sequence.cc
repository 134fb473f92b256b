#include "model/sequence.h"

#include <algorithm>

namespace tramontane {
namespace {

// The first page that a query at `position` or later can see.
int32_t first_visible_page(int32_t window, int32_t position) {
  return window == 0 ? 0 : std::max(0, position - window + 1) / kPageTokens;
}

}  // namespace

int32_t pages_needed(const SequenceLimits& limits, int32_t tokens, int32_t step) {
  const int32_t all = pages_of(tokens);
  if (limits.window == 0) return all;
  const int64_t ring = (int64_t{limits.window} + step - 2 + kPageTokens - 1) / kPageTokens + 1;
  return static_cast<int32_t>(std::min<int64_t>(all, ring));
}

int32_t most_tokens(const SequenceLimits& limits, int32_t pages) {
  if (pages_needed(limits, limits.context, 1) <= pages) return limits.context;
  return pages * kPageTokens;
}

Sequence::Sequence(PagePool& pool, const SequenceLimits& limits, const PageKey& root)
    : pool_(pool),
      limits_(limits),
      root_(root),
      ring_(pages_needed(limits, limits.context, limits.max_step_tokens)),
      key_(root) {}

Sequence::~Sequence() { release(); }

void Sequence::grow_table(int32_t end) {
  const size_t entries = static_cast<size_t>(std::min(end, ring_));
  if (entries > table_.size()) table_.resize(entries, -1);
}

Sequence::Cached Sequence::find_cached(const int32_t* tokens, int32_t count, int32_t limit) const {
  const int32_t full_pages = std::min(count - 1, limit) / kPageTokens;
  Cached cached;
  std::vector<int32_t> found;
  PageKey key = key_;
  int32_t run = 0;  // Pages found in a row up to here.
  for (int32_t page = 0; page < full_pages; ++page) {
    const int32_t* held = tokens + page * kPageTokens;
    key = key.next(held);
    found.push_back(pool_.find(key, held));
    run = found.back() < 0 ? 0 : run + 1;
    const int32_t length = (page + 1) * kPageTokens;
    if (run == 0 || run < page + 1 - first_visible_page(limits_.window, length)) continue;
    cached.pages = page + 1;
    cached.key = key;
  }
  cached.held.assign(found.begin(), found.begin() + cached.pages);
  const int32_t first = first_visible_page(limits_.window, cached.pages * kPageTokens);
  std::fill_n(cached.held.begin(), std::min(first, cached.pages), -1);
  return cached;
}

int32_t Sequence::resume(const Cached& cached) {
  if (cached.pages == 0) return 0;
  grow_table(cached.pages);  // Before anything changes: it may find no memory.
  committed_ = written_ = cached.pages * kPageTokens;
  first_page_ = first_visible_page(limits_.window, committed_);
  end_page_ = published_pages_ = cached.pages;
  key_ = cached.key;
  for (int32_t page = first_page_; page < end_page_; ++page) {
    pool_.share(cached.held[page]);
    entry(page) = cached.held[page];
  }
  return committed_;
}

void Sequence::catch_up(const int32_t* tokens, int32_t count, int32_t limit) {
  const int32_t most = std::min(count - 1, limit);
  while (written_ == committed_ && written_ % kPageTokens == 0 && written_ + kPageTokens <= most) {
    const int32_t* held = tokens + written_;
    const int32_t page = pool_.find(key_.next(held), held);
    if (page < 0) return;
    truncate(written_);  // Pages that were reserved and not written.
    pool_.share(page);
    grow_table(end_page_ + 1);
    entry(end_page_++) = page;
    written_ += kPageTokens;
    commit(tokens, written_);
  }
}

int32_t Sequence::new_pages(int32_t tokens) const {
  return std::max(0, pages_of(written_ + tokens) - end_page_);
}

bool Sequence::reserve(int32_t tokens) {
  const int32_t end = pages_of(written_ + tokens);
  if (end - end_page_ > pool_.available()) return false;
  grow_table(end);
  for (; end_page_ < end; ++end_page_) entry(end_page_) = pool_.take();
  return true;
}

SequenceSlice Sequence::slice(int32_t first_row, int32_t rows) const {
  return {first_row, rows, written_, table_.data(), static_cast<int32_t>(table_.size())};
}

void Sequence::commit(const int32_t* tokens, int32_t length) {
  committed_ = length;
  // A page is published before it may leave the window.
  for (; (published_pages_ + 1) * kPageTokens <= length; ++published_pages_) {
    const int32_t* held = tokens + published_pages_ * kPageTokens;
    key_ = key_.next(held);
    pool_.publish(entry(published_pages_), key_, held);
  }
  const int32_t first = std::min(first_visible_page(limits_.window, length), end_page_);
  for (; first_page_ < first; ++first_page_) pool_.release(entry(first_page_), Reuse::kFirst);
}

void Sequence::truncate(int32_t length) {
  written_ = length;
  for (const int32_t end = std::max(pages_of(length), first_page_); end_page_ > end;) {
    pool_.release(entry(--end_page_), Reuse::kFirst);
  }
}

void Sequence::release() {
  // From the end, so that the beginning, which more prompts share, is reused last.
  while (end_page_ > first_page_) pool_.release(entry(--end_page_), Reuse::kLast);
  first_page_ = end_page_ = written_ = committed_ = published_pages_ = 0;
  key_ = root_;
}

}  // namespace tramontane
