// Who owns which page of the KV cache, and which pages can be found again by what they hold.
// Only ids here: what lies in a page is the backend's.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "base/sip_hash.h"

namespace tramontane {

// Names a full page by everything before it and in it: a keyed 128-bit hash over the previous
// page's key and this page's tokens. Keyed per process, so that a prompt cannot be made to collide.
struct PageKey {
  uint64_t high = 0, low = 0;
  bool operator==(const PageKey&) const = default;

  // The key before the first page of a sequence. Pages are shared with those of the same salt
  // alone,
  static PageKey root(uint64_t salt = 0);
  // and under an adapter with those of the same content and scale.
  static PageKey root(const PageKey& adapter, float scale, uint64_t salt);
  // The key of the page that follows this one and holds tokens[0 .. kPageTokens).
  PageKey next(const int32_t* tokens) const;
};

// What PageKeys are made by: 128 bits that nobody outside of the process can foresee.
class KeyedHash {
 public:
  KeyedHash();
  void add(uint64_t word) { add(word, word); }
  // To the one half and to the other.
  void add(uint64_t high, uint64_t low) {
    high_.add(high);
    low_.add(low);
  }
  PageKey finish() { return {high_.finish(), low_.finish()}; }

 private:
  SipHash high_, low_;
};

enum class Reuse {
  kFirst,  // The page left a running sequence's window: taken again before any other.
  kLast,   // Its sequence ended: a later prompt may start the same way.
};

// Not synchronised: used by one engine thread. `in_use`, `cached` are read through Engine::stats.
class PagePool {
 public:
  explicit PagePool(int32_t pages);

  int32_t size() const { return size_; }
  // Pages that have an owner.
  int32_t in_use() const { return in_use_; }
  // Pages without an owner that can still be found by their key.
  int32_t cached() const { return cached_; }
  // Pages take() can still give.
  int32_t available() const { return size() - in_use_; }
  // Pages that hold something, or did so since they were last emptied: they take memory.
  int32_t touched() const {
    return static_cast<int32_t>(pages_.size()) - static_cast<int32_t>(emptied_.size());
  }

  int32_t owners(int32_t page) const { return pages_[page].owners; }

  // A page for the caller alone, or -1. Pages of Reuse::kFirst go first, so that a windowed
  // sequence runs in constant memory; then emptied and untouched ones; then cached ones, oldest
  // first.
  int32_t take();
  // Forgets what up to `count` pages without an owner hold, in the order in which take() gives
  // them, and returns their ids: what they hold may be thrown away.
  std::vector<int32_t> empty(int32_t count);
  // One more owner.
  void share(int32_t page);
  // One owner less.
  void release(int32_t page, Reuse reuse);

  // Lets find() give this full page. Keeps the older page when the key is already there.
  void publish(int32_t page, const PageKey& key, const int32_t* tokens);
  // A page with this key and these tokens, or -1. It gets no owner.
  int32_t find(const PageKey& key, const int32_t* tokens) const;

 private:
  struct Page {
    int32_t owners = 0;
    int32_t previous = -1, next = -1;  // In one of the lists, when it has no owner.
    bool keyed = false;
    Reuse reuse = Reuse::kFirst;
    PageKey key;
    std::array<int32_t, kPageTokens> tokens;
  };
  struct List {
    int32_t head = -1, tail = -1;
  };
  struct KeyHash {
    size_t operator()(const PageKey& key) const { return static_cast<size_t>(key.low); }
  };

  List& list(Reuse reuse) { return reuse == Reuse::kFirst ? first_ : last_; }
  void append(int32_t page, Reuse reuse);
  void unlink(int32_t page);

  int32_t take_unowned();

  const int32_t size_;
  std::deque<Page> pages_;  // Those that were ever taken: a large pool costs nothing until then.
  std::vector<int32_t> emptied_;
  std::unordered_map<PageKey, int32_t, KeyHash> by_key_;
  List first_, last_;
  int32_t in_use_ = 0, cached_ = 0;
};

}  // namespace tramontane
