------------------------------ MODULE Observe -------------------------------
(***************************************************************************)
(* The read path: records that are applied item by item, the overlay,      *)
(* events, registration of watches, reads in flight, sessions that move,   *)
(* records that are trimmed, gateways that may not read redo, and caches.  *)
(* ../architecture.md, "A read" and "Watches".                             *)
(*                                                                         *)
(* The committer is one process here; Log.tla shows that several behave    *)
(* like one, and that an item's condition refuses whatever comes late.     *)
(* Record z is the z-th and has one zxid; an item's value is the zxid of   *)
(* its last change. Gateways look at the log at any time or never, so that *)
(* hints need no state to be lost or late.                                 *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Gateways, Sessions, Nodes,
    Blind,           \* gateways that may not read redo: clients of a subtree
    Caching,         \* gateways with a cache
    MaxZxid,         \* records
    MaxReads,        \* reads of all sessions together
    MaxOutstanding,  \* reads that one session has under way at once
    MaxMoves,        \* connections lost, of all sessions together
    MaxFloor,        \* records that can be trimmed
    Broken

VARIABLES
    writes,    \* history: for each record the nodes it changes
    pending,   \* <<z, node>> in the log and not applied
    node,      \* the zxid that a read of a node returns
    set,       \* the node's watch set: gateways
    fired,     \* history: <<z, node, gateway>> that z's apply moved out of the set, and so whom it hints
    floor,     \* records up to here are trimmed
    complete, cursor, candidate,  \* of each gateway
    redo,      \*   the records whose redo it holds
    armed,     \*   nodes whose set it takes itself to be in: it counts on a hint
    cache,     \*   for each node the zxid of its entry, or None
    at,        \* of each session: its gateway
    queue,     \*   its reads, oldest first
    due,       \*   events in its output queue, <<zxid, node>>
    seen,      \*   the highest zxid it was shown
    watch,     \*   what it knows it watches: the zxid of the read that registered, or None
    reads, moves,
    told,      \* history: the highest zxid that a writer was told
    torn,      \* history: a session was shown what is no state
    stale      \* history: a session was shown a state older than one it had seen

storage == <<writes, pending, node, set, fired, floor>>
gateway == <<complete, cursor, candidate, redo, armed, cache>>
session == <<at, queue, due, seen, watch, reads, moves, told, torn, stale>>
vars == <<storage, gateway, session>>

None == -1
Nowhere == "nowhere"
NoCandidate == [z |-> 0, redo |-> {}]
NoEntries == [n \in Nodes |-> None]

Max(S) == CHOOSE m \in S : \A n \in S : n <= m
Min(S) == CHOOSE m \in S : \A n \in S : n >= m
Max2(a, b) == IF a > b THEN a ELSE b

Zxids == 1..Len(writes)
LastChange(n, z) == Max({0} \cup {k \in 1..z : n \in writes[k]})
Complete(z) == \A p \in pending : p[1] > z

\* Record 2 deletes node "x" if it writes it: a tombstone with its zxid stays. All else about a deletion is as for any
\* other change.
Shown(n, z) == IF Broken = "noTombstone" /\ n = "x" /\ z = 2 THEN 0 ELSE z

Init ==
    /\ writes = <<>>
    /\ pending = {}
    /\ node = [n \in Nodes |-> 0]
    /\ set = [n \in Nodes |-> {}]
    /\ fired = {}
    /\ floor = 0
    /\ complete = [g \in Gateways |-> 0]
    /\ cursor = [g \in Gateways |-> 0]
    /\ candidate = [g \in Gateways |-> NoCandidate]
    /\ redo = [g \in Gateways |-> {}]
    /\ armed = [g \in Gateways |-> {}]
    /\ cache = [g \in Gateways |-> NoEntries]
    /\ at = [s \in Sessions |-> Nowhere]
    /\ queue = [s \in Sessions |-> <<>>]
    /\ due = [s \in Sessions |-> {}]
    /\ seen = [s \in Sessions |-> 0]
    /\ watch = [s \in Sessions |-> [n \in Nodes |-> None]]
    /\ reads = 0 /\ moves = 0
    /\ told = 0 /\ torn = FALSE /\ stale = FALSE

-----------------------------------------------------------------------------
\* The committer. It puts a record when the one before is applied.
Put ==
    /\ Len(writes) < MaxZxid
    /\ pending = {} \/ Broken = "commitEarly"
    /\ \E S \in SUBSET Nodes \ {{}} :
        /\ writes' = Append(writes, S)
        /\ pending' = pending \cup ({Len(writes) + 1} \X S)
    /\ UNCHANGED <<node, set, fired, floor, gateway, session>>

\* It applies it, or whoever comes next does. The set moves with the item, and names those to be hinted.
Apply ==
    \E p \in pending :
        /\ pending' = pending \ {p}
        /\ node' = [node EXCEPT ![p[2]] = Max2(p[1], @)]
        /\ set' = [set EXCEPT ![p[2]] = {}]
        /\ fired' = fired \cup {<<p[1], p[2], g>> : g \in set[p[2]]}
        /\ UNCHANGED <<writes, floor, gateway, session>>

\* Never the last record, and none that is not applied.
Trim ==
    /\ floor < MaxFloor
    /\ floor + 1 < Len(writes) /\ Complete(floor + 1)
    /\ floor' = floor + 1
    /\ UNCHANGED <<writes, pending, node, set, fired, gateway, session>>

-----------------------------------------------------------------------------
Serves(g) == \E s \in Sessions : at[s] = g

\* What a look at the log from z on tells a gateway: a record counts if all before it are there. A gateway that may
\* not read redo takes a record for read when it is applied, which the items show, or the next record.
Readable(g, z) == {k \in z + 1..Len(writes) : g \notin Blind \/ Complete(k) \/ Broken = "blindEarly"}
Lost(g) == floor > cursor[g]

\* observe, first half: read the log from the place where one is. What the gateway learns so may not be applied yet,
\* and it holds the redo. Or hear from the committer, which tells of the next record when it is applied, without redo.
Learn(g) ==
    /\ Serves(g)
    /\ candidate[g] = NoCandidate
    /\ \E z \in Readable(g, complete[g]) \cup (Zxids \cap {complete[g] + 1}) :
        /\ \/ /\ z \in Readable(g, complete[g])
              /\ candidate' = [candidate EXCEPT ![g] =
                    [z |-> z, redo |-> IF g \in Blind THEN {} ELSE complete[g] + 1..z]]
           \/ /\ z = complete[g] + 1
              /\ Complete(z) \/ Broken = "hintEarly"
              /\ ~Lost(g)
              /\ candidate' = [candidate EXCEPT ![g] = [z |-> z, redo |-> {}]]
        /\ complete' = IF Broken = "publishEarly" THEN [complete EXCEPT ![g] = z] ELSE complete
    /\ UNCHANGED <<storage, cursor, redo, armed, cache, session>>

Rearms(s, n) == \E k \in 1..Len(queue[s]) : queue[s][k].rearm /\ n \in queue[s][k].nodes
Active(s, n) == watch[s][n] # None /\ ~Rearms(s, n) /\ \A e \in due[s] : e[2] # n

\* Redo is held as long as it is the last, or a read is under way that was sent when it, or one before, was the last.
Held(g, R, z) == {k \in R : k = z \/ \E s \in Sessions : at[s] = g /\ \E i \in 1..Len(queue[s]) : queue[s][i].asked <= k}

\* Second half: put the events into the output queues, bring the cache up to date, publish, all in one step. An entry
\* of the local table stands there from the moment its registration is sent; what fires before its answer has come
\* waits with it. Whoever finds a gap in the log has lost its place: it drops its connections and forgets all.
Deliver(g) ==
    LET new == cursor[g] + 1..candidate[g].z
        here == {s \in Sessions : at[s] = g}
        dropped == Lost(g) /\ Broken # "leapOver"
        Gone(z) == z <= floor /\ Broken = "leapOver"
        Changes(n) == {z \in new : n \in writes[z] /\ ~Gone(z)}
        Firing(n, i) == {z \in Changes(n) : z > i}
        Events(s) == {<<Min(Firing(n, watch[s][n])), n>> :
                        n \in {m \in Nodes : Active(s, m) /\ Firing(m, watch[s][m]) # {}}}
        Behind(r) == IF r.arrived \/ Broken # "lateEntry"
                     THEN [r EXCEPT !.events = @ \cup {<<z, n>> \in new \X r.nodes : z \in Changes(n)}]
                     ELSE r
        Entry(n) == IF cache[g][n] = None \/ Changes(n) = {} \/ Broken = "cacheStays" THEN cache[g][n]
                    ELSE IF Max(Changes(n)) \in candidate[g].redo THEN Max(Changes(n)) ELSE None
    IN
    /\ candidate[g] # NoCandidate
    /\ candidate' = [candidate EXCEPT ![g] = NoCandidate]
    /\ complete' = [complete EXCEPT ![g] = IF dropped THEN 0 ELSE candidate[g].z]
    /\ cursor' = [cursor EXCEPT ![g] = IF dropped THEN 0 ELSE candidate[g].z]
    /\ armed' = [armed EXCEPT ![g] = IF dropped THEN {} ELSE {n \in @ : Changes(n) = {}}]
    /\ cache' = [cache EXCEPT ![g] = IF dropped /\ Broken # "cacheOverGap" THEN NoEntries ELSE [n \in Nodes |-> Entry(n)]]
    /\ IF dropped
       THEN /\ redo' = [redo EXCEPT ![g] = {}]
            /\ at' = [s \in Sessions |-> IF s \in here THEN Nowhere ELSE at[s]]
            /\ queue' = [s \in Sessions |-> IF s \in here THEN <<>> ELSE queue[s]]
            /\ due' = [s \in Sessions |-> IF s \in here THEN {} ELSE due[s]]
       ELSE /\ redo' = [redo EXCEPT ![g] = Held(g, @ \cup candidate[g].redo, candidate[g].z)]
            /\ due' = [s \in Sessions |-> IF s \in here THEN due[s] \cup Events(s) ELSE due[s]]
            /\ queue' = [s \in Sessions |->
                            IF s \in here THEN [k \in 1..Len(queue[s]) |-> Behind(queue[s][k])] ELSE queue[s]]
            /\ UNCHANGED at
    /\ UNCHANGED <<storage, seen, watch, reads, moves, told, torn, stale>>

-----------------------------------------------------------------------------
\* A read in flight, with what its gateway had published when it was sent: it surely reflects that. Of several nodes
\* it is a multiRead. A rearm is what setWatches does: all its registrations are one request.
Asked(nodes, registers, rearm, published) ==
    [nodes |-> nodes, registers |-> registers, rearm |-> rearm, asked |-> published,
     got |-> [n \in nodes |-> None], arrived |-> Broken # "lateEntry", events |-> {}]

Published(s) == IF Broken = "skipObserve" THEN Max2(complete[at[s]], seen[s]) ELSE complete[at[s]]

Read(s) ==
    /\ at[s] # Nowhere
    /\ reads < MaxReads /\ reads' = reads + 1
    /\ Len(queue[s]) < MaxOutstanding
    /\ \E nodes \in {{n} : n \in Nodes} \cup {Nodes}, registers \in BOOLEAN :
        /\ registers => Cardinality(nodes) = 1
        /\ queue' = [queue EXCEPT ![s] = Append(@, Asked(nodes, registers, FALSE, Published(s)))]
    /\ UNCHANGED <<storage, gateway, at, due, seen, watch, moves, told, torn, stale>>

\* The storage executes it. A registration is an UpdateItem; when the item read already has the gateway in its set, a
\* plain read is enough.
Execute(s) ==
    \E k \in 1..Len(queue[s]) : \E n \in queue[s][k].nodes :
        LET r == queue[s][k]
            g == at[s]
            plain == ~r.registers \/ g \in set[n] \/ (Broken = "trustMemory" /\ n \in armed[g])
        IN
        /\ r.got[n] = None
        /\ queue' = [queue EXCEPT ![s][k].got[n] = node[n]]
        /\ set' = IF plain THEN set ELSE [set EXCEPT ![n] = @ \cup {g}]
        /\ UNCHANGED <<writes, pending, node, fired, floor, gateway>>
        /\ UNCHANGED <<at, due, seen, watch, reads, moves, told, torn, stale>>

\* Or the cache does, at once: the entry is the state at complete. (A watch is not set so.)
FromCache(s) ==
    \E n \in Nodes :
        LET g == at[s]
        IN
        /\ g \in Caching
        /\ cache[g][n] # None
        /\ reads < MaxReads /\ reads' = reads + 1
        /\ Len(queue[s]) < MaxOutstanding
        /\ queue' = [queue EXCEPT ![s] = Append(@, [Asked({n}, FALSE, FALSE, complete[g]) EXCEPT
                        !.got = [m \in {n} |-> cache[g][n]], !.arrived = TRUE])]
        /\ UNCHANGED <<storage, gateway, at, due, seen, watch, moves, told, torn, stale>>

\* Its answer comes back; of consequence only where the entry is made no earlier than that.
Arrive(s) ==
    \E k \in 1..Len(queue[s]) :
        /\ ~queue[s][k].arrived
        /\ \A n \in queue[s][k].nodes : queue[s][k].got[n] # None
        /\ queue' = [queue EXCEPT ![s][k].arrived = TRUE]
        /\ UNCHANGED <<storage, gateway, at, due, seen, watch, reads, moves, told, torn, stale>>

\* What was read, laid over with the redo of every record from the one that was the last when it was sent.
Laid(s, r, n) ==
    LET first == IF Broken = "overlayNow" THEN complete[at[s]] ELSE r.asked
        over == IF Broken = "noOverlay" THEN {} ELSE {k \in redo[at[s]] : k >= first /\ n \in writes[k]}
    IN  Max({r.got[n]} \cup over)

\* The events behind the read that registered n at zxid z.
Late(r, n, z) == LET later == {e \in r.events : e[2] = n /\ e[1] > z}
                 IN  {e \in later : \A f \in later : e[1] <= f[1]}

\* The zxid that the reply carries and all that it shows is at least as new as.
Header(s, r) == Max({r.asked} \cup {Laid(s, r, n) : n \in r.nodes})

\* All of it is here and observed, and what precedes it in the output queue is sent. Newer events may wait behind it.
Ready(s) ==
    /\ queue[s] # <<>>
    /\ LET r == queue[s][1]
       IN  /\ r.arrived
           /\ \A n \in r.nodes : /\ r.got[n] # None
                                 /\ Shown(n, r.got[n]) <= complete[at[s]] \/ Broken = "skipObserve"
           /\ \A e \in due[s] : e[1] > Header(s, r)

\* A reply or an event raised what the session has seen above what was published when this was asked, or not all of
\* a multiRead is of the state that was published then: ask again.
Outdated(s) ==
    LET r == queue[s][1]
    IN  \/ seen[s] > r.asked /\ Broken # "noReissue"
        \/ Cardinality(r.nodes) > 1 /\ ~r.rearm /\ Header(s, r) > r.asked

Again(s) ==
    /\ Ready(s) /\ Outdated(s)
    /\ queue' = [queue EXCEPT ![s][1] = Asked(@.nodes, @.registers, @.rearm, Published(s))]
    /\ UNCHANGED <<storage, gateway, at, due, seen, watch, reads, moves, told, torn, stale>>

\* Nothing changed n since it was read, as far as the gateway knows. Else the set that the gateway was put into may be
\* moved by a change that it has heard of; and what was read is no entry for the cache, unless it was laid over.
Undisturbed(s, r, n) == LastChange(n, complete[at[s]]) <= r.got[n]
Arms(s, r, n) == r.registers /\ (Undisturbed(s, r, n) \/ Broken = "armsAnyway")
Keeps(s, r, n) ==
    /\ at[s] \in Caching
    /\ Laid(s, r, n) = LastChange(n, complete[at[s]]) \/ Broken = "cacheUnderWay"

\* The reply goes out. Its header carries what it surely reflects, not all that the gateway has observed by now.
Reply(s) ==
    LET r == queue[s][1]
        n == CHOOSE m \in r.nodes : TRUE
        header == Header(s, r)
        z == Laid(s, r, n)
    IN
    /\ Ready(s) /\ ~Outdated(s)
    /\ ~r.rearm
    /\ queue' = [queue EXCEPT ![s] = Tail(@)]
    /\ stale' = (stale \/ \E m \in r.nodes : Laid(s, r, m) < LastChange(m, seen[s]))
    /\ torn' = (torn \/ \E m \in r.nodes : Laid(s, r, m) # LastChange(m, header))
    /\ seen' = [seen EXCEPT ![s] = Max2(IF Broken = "headerComplete" THEN complete[at[s]] ELSE header, @)]
    /\ cache' = [cache EXCEPT ![at[s]] = [m \in Nodes |-> IF m \in r.nodes /\ Keeps(s, r, m) THEN Laid(s, r, m) ELSE @[m]]]
    /\ IF r.registers
       THEN /\ watch' = [watch EXCEPT ![s][n] = Max2(z, @)]
            /\ due' = [due EXCEPT ![s] = @ \cup Late(r, n, z)]
            /\ armed' = [armed EXCEPT ![at[s]] = IF Arms(s, r, n) THEN @ \cup {n} ELSE @]
       ELSE UNCHANGED <<watch, due, armed>>
    /\ UNCHANGED <<storage, complete, cursor, candidate, redo, at, reads, moves, told>>

\* setWatches with the session's last zxid. Nodes that changed since then fire before the reply, and so do the watches
\* that were used up before the last of them was set; the others are armed again.
Rearm(s) ==
    LET r == queue[s][1]
        UsedUp(n) == \E e \in Late(r, n, Laid(s, r, n)) : e[1] <= Header(s, r) /\ Broken # "eventsAfterReply"
        news == {n \in r.nodes : Laid(s, r, n) > seen[s] \/ UsedUp(n)}
    IN
    /\ Ready(s) /\ ~Outdated(s)
    /\ r.rearm
    /\ queue' = [queue EXCEPT ![s] = Tail(@)]
    /\ seen' = [seen EXCEPT ![s] = Max2(Header(s, r), @)]
    /\ watch' = [watch EXCEPT ![s] = [n \in Nodes |->
            IF n \in news THEN None ELSE IF n \in r.nodes THEN Max2(Laid(s, r, n), @[n]) ELSE @[n]]]
    /\ due' = [due EXCEPT ![s] = @ \cup UNION {Late(r, n, Laid(s, r, n)) : n \in r.nodes \ news}]
    /\ armed' = [armed EXCEPT ![at[s]] = @ \cup {n \in r.nodes : Arms(s, r, n)}]
    /\ UNCHANGED <<storage, complete, cursor, candidate, redo, cache, at, reads, moves, told, torn, stale>>

\* The events of the lowest zxid go out.
Event(s) ==
    LET z == Min({e[1] : e \in due[s]})
        nodes == {e[2] : e \in {e \in due[s] : e[1] = z}}
    IN
    /\ due[s] # {}
    /\ due' = [due EXCEPT ![s] = {e \in @ : e[1] > z}]
    /\ seen' = [seen EXCEPT ![s] = Max2(z, @)]
    /\ watch' = [watch EXCEPT ![s] = [n \in Nodes |-> IF n \in nodes THEN None ELSE @[n]]]
    /\ UNCHANGED <<storage, gateway, at, queue, reads, moves, told, torn, stale>>

\* The reply to a write of the session. A gateway that finds the outcome in the last record waits until that is
\* applied: else who hears of it beside ZooKeeper reads what was before, elsewhere.
WriteReply(s) ==
    \E z \in Zxids :
        /\ at[s] # Nowhere /\ queue[s] = <<>> /\ due[s] = {}
        /\ z > seen[s]
        /\ Complete(z) \/ Broken = "outcomeEarly"
        /\ z <= complete[at[s]] \/ Broken = "replyUnobserved"
        /\ seen' = [seen EXCEPT ![s] = z]
        /\ told' = Max2(told, z)
        /\ UNCHANGED <<storage, gateway, at, queue, due, watch, reads, moves, torn, stale>>

-----------------------------------------------------------------------------
\* A gateway without connections observes nothing, and keeps nothing. Before the first one it finds out where things
\* stand, so what it knew until then does not matter.
Forget(g, left) ==
    IF \E t \in Sessions \ left : at[t] = g
    THEN UNCHANGED gateway
    ELSE /\ complete' = [complete EXCEPT ![g] = 0]
         /\ cursor' = [cursor EXCEPT ![g] = 0]
         /\ candidate' = [candidate EXCEPT ![g] = NoCandidate]
         /\ redo' = [redo EXCEPT ![g] = {}]
         /\ armed' = [armed EXCEPT ![g] = {}]
         /\ cache' = [cache EXCEPT ![g] = NoEntries]

Disconnect(s) ==
    /\ at[s] # Nowhere
    /\ moves < MaxMoves /\ moves' = moves + 1
    /\ at' = [at EXCEPT ![s] = Nowhere]
    /\ queue' = [queue EXCEPT ![s] = <<>>]
    /\ due' = [due EXCEPT ![s] = {}]
    /\ UNCHANGED <<storage, seen, watch, reads, told, torn, stale>>
    /\ Forget(at[s], {s})

\* Through any gateway, which observes the client's last zxid first. Its library sends setWatches first. A gateway
\* that begins reads the last record, with its redo: that those before are applied is why it is there.
Connect(s) ==
    LET nodes == {n \in Nodes : watch[s][n] # None}
    IN
    /\ at[s] = Nowhere
    /\ \E g \in Gateways :
        /\ at' = [at EXCEPT ![s] = g]
        /\ IF Serves(g)
           THEN complete[g] >= seen[s] \/ Broken = "connectUnobserved"
           ELSE g \in Blind => pending = {} \/ Broken = "blindEarly"
        /\ IF Serves(g)
           THEN UNCHANGED gateway
           ELSE /\ complete' = [complete EXCEPT ![g] = Len(writes)]
                /\ cursor' = [cursor EXCEPT ![g] = Len(writes)]
                /\ redo' = [redo EXCEPT ![g] = IF g \in Blind THEN {} ELSE {Len(writes)} \ {0}]
                /\ UNCHANGED <<candidate, armed, cache>>
        /\ queue' = [queue EXCEPT ![s] = IF nodes = {} THEN <<>> ELSE <<Asked(nodes, TRUE, TRUE, complete'[g])>>]
    /\ UNCHANGED <<storage, due, seen, watch, reads, moves, told, torn, stale>>

Done ==
    /\ Len(writes) = MaxZxid /\ pending = {}
    /\ \A g \in Gateways : Serves(g) => complete[g] = MaxZxid
    /\ \A s \in Sessions : at[s] # Nowhere /\ queue[s] = <<>> /\ due[s] = {}

Next ==
    \/ Put \/ Apply \/ Trim
    \/ \E g \in Gateways : Learn(g) \/ Deliver(g)
    \/ \E s \in Sessions :
        \/ Read(s) \/ Execute(s) \/ FromCache(s) \/ Arrive(s) \/ Again(s) \/ Reply(s) \/ Rearm(s) \/ Event(s)
        \/ WriteReply(s) \/ Disconnect(s) \/ Connect(s)
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

Symmetry == Permutations(Gateways) \cup Permutations(Sessions)

-----------------------------------------------------------------------------
\* Z1: what a session is shown is of one state, the one that its header names.
Whole == ~torn

\* Z3: what a session is shown never goes back.
NeverBack == ~stale

\* Z4: no session has seen z or later while it still waits for the event of z.
EventFirst ==
    \A s \in Sessions : \A n \in Nodes :
        watch[s][n] # None => \A z \in watch[s][n] + 1..seen[s] : n \notin writes[z]

\* No watch is lost: the first change after its registration is still ahead of the cursor.
NoLostWatch ==
    \A s \in Sessions : \A n \in Nodes :
        at[s] # Nowhere /\ Active(s, n) =>
            LET changes == {z \in Zxids : z > watch[s][n] /\ n \in writes[z]}
            IN  changes # {} => cursor[at[s]] < Min(changes)

\* A gateway that counts on a hint gets one: it is in the set, or was moved out by a change that it does not know yet.
Hinted ==
    \A g \in Gateways : \A n \in armed[g] :
        g \in set[n] \/ \E z \in cursor[g] + 1..Len(writes) : <<z, n, g>> \in fired

\* What a writer was told can be seen by everybody.
Visible == Complete(told)

\* No session is ahead of what its gateway has published.
Observed == \A s \in Sessions : at[s] # Nowhere => seen[s] <= complete[at[s]]

\* A cache holds the state at complete.
CacheTrue == \A g \in Gateways : \A n \in Nodes : cache[g][n] \in {None, LastChange(n, complete[g])}

-----------------------------------------------------------------------------
\* Witnesses, which TLC must reach.
NeverFired == \A s \in Sessions : due[s] = {}
NeverBehind == \A s \in Sessions : queue[s] = <<>> \/ queue[s][1].events = {}
NeverMovedAndFired == ~\E s \in Sessions : moves = MaxMoves /\ due[s] # {} /\ \E g \in Gateways : at[s] = g
NeverDropped == ~\E s \in Sessions : at[s] = Nowhere /\ floor > 0 /\ \E n \in Nodes : watch[s][n] # None
NeverAgain == ~\E s \in Sessions : Ready(s) /\ Outdated(s)
NeverLaidOver == ~\E s \in Sessions : Ready(s) /\ \E n \in queue[s][1].nodes : Laid(s, queue[s][1], n) # queue[s][1].got[n]
NeverBroughtUpToDate == \A g \in Gateways : \A n \in Nodes : cache[g][n] <= 1
=============================================================================
