// One sequence's place in the KV cache: its page table and how far it is filled.
#pragma once

#include <cstdint>
#include <vector>

#include "model/pages.h"

namespace tramontane {

// What all sequences of a model have in common.
struct SequenceLimits {
  int32_t window;           // Keys a query sees, its own included; 0: all.
  int32_t context;          // Most tokens of a sequence.
  int32_t max_step_tokens;  // Most tokens one step adds to a sequence, drafts included.
};

// The table is a ring of pages: the page that holds position p is entry (p / 32) mod R, with
// R = ceil((W + C - 2) / 32) + 1 for a window of W and steps of at most C tokens. Worked example,
// W = 48, C = 1: a query at p sees p-47..p, 48 keys that touch at most 3 pages, and R = 3. Nothing
// is overwritten in place: a new page comes from the pool, one that left the window goes back.
// Without a window the table simply grows. So does a ring until its R entries are there: a large
// context or window costs nothing until it is used.
//
// `written` counts tokens whose keys are in the pages, `committed` those that will not be taken
// back. Pages are recycled and published by `committed`, so truncate() to it or beyond always
// works.
class Sequence {
 public:
  // Only sequences of the same root find each other's pages.
  Sequence(PagePool& pool, const SequenceLimits& limits, const PageKey& root = PageKey::root());
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  int32_t written() const { return written_; }
  int32_t committed() const { return committed_; }
  int32_t pages_held() const { return end_page_ - first_page_; }

  // Pages of the pool that hold the beginning of tokens[0 .. count), for an empty sequence.
  struct Cached {
    int32_t pages = 0;          // So many pages of tokens need no computation.
    std::vector<int32_t> held;  // [pages] page ids, -1 where the window does not reach any more.
    PageKey key;                // Of the last of them.
  };
  // The tokens that need no computation are a multiple of 32, less than count, at most `limit`.
  Cached find_cached(const int32_t* tokens, int32_t count, int32_t limit) const;
  // Takes them over. Returns how many tokens need no computation.
  int32_t resume(const Cached& cached);
  // Takes over pages that others have published since: those that follow the tokens written, which
  // must fill their last page, up to `limit` tokens. A prompt that starts as another one does goes
  // on where that one is.
  void catch_up(const int32_t* tokens, int32_t count, int32_t limit);

  // Pages to take from the pool before `tokens` more tokens can be written.
  int32_t new_pages(int32_t tokens) const;
  // Takes the pages for `tokens` more tokens. False, with nothing taken, when the pool has too few.
  bool reserve(int32_t tokens);
  // The next `rows` tokens, for a step without an adapter. Needs reserve(rows).
  SequenceSlice slice(int32_t first_row, int32_t rows) const;
  // After the step: their keys are in the pages.
  void add_written(int32_t tokens) { written_ += tokens; }
  // The first `length` tokens are final. `tokens` is the sequence from its start.
  void commit(const int32_t* tokens, int32_t length);
  // Forgets what lies beyond; committed() <= length <= written().
  void truncate(int32_t length);
  // Gives all pages back; the sequence is empty then.
  void release();

 private:
  int32_t& entry(int32_t page) { return table_[page % static_cast<int32_t>(table_.size())]; }
  // Makes the table's entries for pages before `end`.
  void grow_table(int32_t end);

  PagePool& pool_;
  const SequenceLimits limits_;
  const PageKey root_;
  const int32_t ring_;                     // Most entries of the table.
  std::vector<int32_t> table_;             // Entries of pages not held are stale.
  int32_t first_page_ = 0, end_page_ = 0;  // Absolute numbers of the pages held.
  int32_t written_ = 0, committed_ = 0;
  PageKey key_;  // Of the last page before published_pages_.
  int32_t published_pages_ = 0;
};

// Pages that hold so many tokens.
inline int32_t pages_of(int32_t tokens) {
  return tokens / kPageTokens + (tokens % kPageTokens != 0);
}

// Pages a sequence of `tokens` tokens holds at most when steps add at most `step` tokens.
int32_t pages_needed(const SequenceLimits& limits, int32_t tokens, int32_t step);

// Tokens a sequence can have at most, when `pages` pages are all there are.
int32_t most_tokens(const SequenceLimits& limits, int32_t pages);

}  // namespace tramontane
