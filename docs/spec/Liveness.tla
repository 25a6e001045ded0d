------------------------------ MODULE Liveness ------------------------------
(***************************************************************************)
(* Sessions, their ephemerals, and gateways that die, stall, or look dead  *)
(* and are not. ../architecture.md, "Sessions and liveness".               *)
(*                                                                         *)
(* Operations take effect one by one, as Commit.tla shows. What an attach  *)
(* writes becomes visible item by item all the same, and the reaper looks  *)
(* at it from outside. Gateways and the reaper change a gateway's item     *)
(* beside the sequencer. Each session has one ephemeral znode.             *)
(*                                                                         *)
(* There is no clock. Each successful beat permits its gateway to answer   *)
(* for a time that starts when the beat was sent; a timer that was armed   *)
(* with a beat comes due later than that permit ends. This is the only     *)
(* thing assumed of time, and it compares no two clocks.                   *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Gateways, Sessions,
    Refuge,       \* gateways that always beat in time: where sessions can move to
    MaxBeats,     \* of each gateway, its first included
    MaxAttaches,  \* of all sessions together
    MaxCrashes,   \* of gateways for good; for safety alone, a gateway that takes no step is as good as crashed
    MaxReaperCrashes,
    Broken

VARIABLES
    item,      \* of each gateway, stored: whether it is known, its beat, whether it is dead, the timer's number
    up,        \* the process runs (it may still stall: any step can take for ever)
    call,      \* its beat under way: the beat, and "sent", "stored" or "refused"; or NoCall
    lapsed,    \* permits up to here have ended
    permit,    \* it answers its clients
    told,      \* it knows that it is dead
    timers,    \* delayed messages: gateway, beat seen, timer's number
    looked,    \* timers whose reaper has found the gateway at the beat it was armed with
    arming,    \* timers whose reaper has sent the next one, and has yet to move the number
    expiring,  \* <<session, epoch>> that the reaper is about to have expired, at once or after the rest of its timeout
    network,   \* of each gateway, an operation sent and not yet in the queue; or NoOp
    queue,     \* operations
    session,   \* stored: state, gateway, epoch; and who closed it
    hidden,    \* sessions whose last attach is decided and not wholly visible
    ephemeral, \* whether the session's znode exists
    created,   \* history: its creation was answered
    attaches, crashes, reaperCrashes

gateway == <<up, call, lapsed, permit, told>>
reaper == <<timers, looked, arming, expiring>>
requests == <<network, queue>>
stored == <<session, hidden, ephemeral, created>>
budgets == <<attaches, crashes, reaperCrashes>>
vars == <<item, gateway, reaper, requests, stored, budgets>>

NoCall == [beat |-> 0, is |-> "none"]
NoOp == [do |-> "none"]
Answers(g) == up[g] /\ ~told[g] /\ permit[g]

Init ==
    /\ item = [g \in Gateways |-> [known |-> TRUE, beat |-> 1, dead |-> FALSE, timer |-> 1]]
    /\ up = [g \in Gateways |-> TRUE]
    /\ call = [g \in Gateways |-> NoCall]
    /\ lapsed = [g \in Gateways |-> 0]
    /\ permit = [g \in Gateways |-> TRUE]
    /\ told = [g \in Gateways |-> FALSE]
    /\ timers = {[of |-> g, beat |-> 1, number |-> 1] : g \in Gateways \ Refuge}
    /\ looked = {}
    /\ arming = {}
    /\ expiring = {}
    /\ network = [g \in Gateways |-> NoOp]
    /\ queue = <<>>
    /\ session = [s \in Sessions |-> [is |-> "new", gateway |-> CHOOSE g \in Gateways : TRUE, epoch |-> 0, by |-> "nobody"]]
    /\ hidden = {}
    /\ ephemeral = [s \in Sessions |-> FALSE]
    /\ created = [s \in Sessions |-> FALSE]
    /\ attaches = 0 /\ crashes = 0 /\ reaperCrashes = 0

InQueue(op) == \E k \in 1..Len(queue) : queue[k] = op

-----------------------------------------------------------------------------
\* The gateway. It sends a beat. What the write returns tells it whether it is dead.
Beat(g) ==
    /\ up[g] /\ ~told[g] /\ call[g] = NoCall
    /\ item[g].beat < MaxBeats
    /\ call' = [call EXCEPT ![g] = [beat |-> item[g].beat + 1, is |-> "sent"]]
    /\ UNCHANGED <<item, up, lapsed, permit, told, reaper, requests, stored, budgets>>

Store(g) ==
    LET dead == (item[g].dead \/ ~item[g].known) /\ Broken # "deadMayBeat"
    IN
    /\ call[g].is = "sent"
    /\ item' = IF item[g].known THEN [item EXCEPT ![g].beat = call[g].beat] ELSE item
    /\ call' = [call EXCEPT ![g].is = IF dead THEN "refused" ELSE "stored"]
    /\ UNCHANGED <<up, lapsed, permit, told, reaper, requests, stored, budgets>>

\* The permit runs from the sending of the beat, so an answer that comes too late gives none.
Learn(g) ==
    /\ up[g]
    /\ call[g].is \in {"stored", "refused"}
    /\ call' = [call EXCEPT ![g] = NoCall]
    /\ permit' = [permit EXCEPT ![g] =
            call[g].is = "stored" /\ (call[g].beat > lapsed[g] \/ Broken = "permitFromAnswer")]
    /\ told' = [told EXCEPT ![g] = call[g].is = "refused"]
    /\ UNCHANGED <<item, up, lapsed, reaper, requests, stored, budgets>>

\* Time passes: the oldest permit ends.
Lapse(g) ==
    LET sent == IF call[g] = NoCall THEN item[g].beat ELSE call[g].beat
        granted == IF call[g] = NoCall THEN sent ELSE sent - 1
    IN
    /\ lapsed[g] < sent
    /\ lapsed' = [lapsed EXCEPT ![g] = @ + 1]
    /\ permit' = [permit EXCEPT ![g] = permit[g] /\ granted > lapsed[g] + 1]
    /\ UNCHANGED <<item, up, call, told, reaper, requests, stored, budgets>>

Crash(g) ==
    /\ up[g] /\ crashes < MaxCrashes
    /\ crashes' = crashes + 1
    /\ up' = [up EXCEPT ![g] = FALSE]
    /\ permit' = [permit EXCEPT ![g] = FALSE]
    /\ UNCHANGED <<item, call, lapsed, told, reaper, requests, stored, attaches, reaperCrashes>>

\* What its clients do. A request may arrive long after the gateway stopped answering. A gateway also closes the
\* sessions of clients that were silent for too long.
Send(g, op) ==
    IF g \in Refuge
    THEN queue' = Append(queue, op) /\ UNCHANGED network
    ELSE network[g] = NoOp /\ network' = [network EXCEPT ![g] = op] /\ UNCHANGED queue

Attach(s, g) ==
    /\ Answers(g)
    /\ session[s].is # "closed"
    /\ attaches < MaxAttaches /\ attaches' = attaches + 1
    /\ Send(g, [do |-> "attach", session |-> s, gateway |-> g])
    /\ UNCHANGED <<item, gateway, reaper, stored, crashes, reaperCrashes>>

Request(s) ==
    /\ session[s].is = "open" /\ s \notin hidden
    /\ Answers(session[s].gateway)
    /\ \E do \in {"create", "close"} :
        LET op == [do |-> do, session |-> s, epoch |-> session[s].epoch]
        IN  /\ do = "create" => ~created[s]
            /\ ~InQueue(op)
            /\ Send(session[s].gateway, op)
    /\ UNCHANGED <<item, gateway, reaper, stored, budgets>>

Arrive(g) ==
    /\ network[g] # NoOp
    /\ network' = [network EXCEPT ![g] = NoOp]
    /\ queue' = Append(queue, network[g])
    /\ UNCHANGED <<item, gateway, reaper, stored, budgets>>

-----------------------------------------------------------------------------
\* The reaper looks at a gateway when a timer comes due. If it dies on the way, the message comes again.
\* What a Query finds.
Attached(g) == {<<s, session[s].epoch>> : s \in {s \in Sessions \ hidden : session[s].is = "open" /\ session[s].gateway = g}}

\* What is asked for twice is applied once, so what is already in the queue need not be here again.
Asked == {<<queue[k].session, queue[k].epoch>> : k \in {k \in 1..Len(queue) : queue[k].do = "expire"}}

Due(t) == lapsed[t.of] >= t.beat /\ t \notin looked

Drop(t) ==
    /\ Due(t)
    /\ \/ ~item[t.of].known
       \/ ~item[t.of].dead /\ t.number # item[t.of].timer /\ (t.number # item[t.of].timer + 1 \/ Broken = "dropAhead")
    /\ timers' = timers \ {t}
    /\ UNCHANGED <<item, gateway, looked, arming, expiring, requests, stored, budgets>>

\* Alive, and beating: the next timer is sent, then the number moves, then the message is deleted. In the wrong order
\* a crash loses the chain. Between the two it may stand still for so long that the next one comes due.
Following(t) == [of |-> t.of, beat |-> item[t.of].beat, number |-> t.number + 1]
Beats(t) == item[t.of].known /\ ~item[t.of].dead /\ t.number = item[t.of].timer /\ item[t.of].beat # t.beat
Moved(t) == IF item[t.of].timer = t.number THEN [item EXCEPT ![t.of].timer = @ + 1] ELSE item

ArmNext(t) ==
    /\ Due(t) /\ t \notin arming
    /\ Beats(t)
    /\ arming' = arming \cup {t}
    /\ IF Broken = "moveBeforeSend"
       THEN item' = Moved(t) /\ UNCHANGED timers
       ELSE timers' = timers \cup {Following(t)} /\ UNCHANGED item
    /\ UNCHANGED <<gateway, looked, expiring, requests, stored, budgets>>

MoveNumber(t) ==
    /\ t \in arming
    /\ arming' = arming \ {t}
    /\ \E dies \in {"no", "before the second", "before the deletion"} :
        /\ dies # "no" => reaperCrashes < MaxReaperCrashes
        /\ reaperCrashes' = IF dies = "no" THEN reaperCrashes ELSE reaperCrashes + 1
        /\ item' = IF dies = "before the second" \/ Broken = "moveBeforeSend" THEN item ELSE Moved(t)
        /\ timers' = (IF dies = "no" THEN timers \ {t} ELSE timers)
                     \cup (IF dies # "before the second" /\ Broken = "moveBeforeSend" THEN {Following(t)} ELSE {})
    /\ UNCHANGED <<gateway, looked, expiring, requests, stored, attaches, crashes>>

\* The next one came due first: it moves the number itself.
Overtake(t) ==
    /\ Due(t) /\ Broken # "dropAhead"
    /\ item[t.of].known /\ ~item[t.of].dead /\ t.number = item[t.of].timer + 1
    /\ item' = [item EXCEPT ![t.of].timer = t.number]
    /\ UNCHANGED <<gateway, reaper, requests, stored, budgets>>

\* Alive, and at the beat that the timer was armed with: two steps, because it may beat between them.
Look(t) ==
    LET g == t.of
    IN
    /\ Due(t)
    /\ item[g].known /\ ~item[g].dead /\ t.number = item[g].timer /\ item[g].beat = t.beat
    /\ looked' = looked \cup {t}
    /\ expiring' = IF Broken = "expireAtOnce" THEN expiring \cup (Attached(g) \ Asked) ELSE expiring
    /\ UNCHANGED <<item, gateway, timers, arming, requests, stored, budgets>>

Declare(t) ==
    /\ t \in looked
    /\ looked' = looked \ {t}
    /\ item' = IF item[t.of].beat = t.beat \/ Broken = "noBeatCondition" THEN [item EXCEPT ![t.of].dead = TRUE] ELSE item
    /\ UNCHANGED <<gateway, timers, arming, expiring, requests, stored, budgets>>

\* Dead: its sessions are listed, when every transaction that was decided before is visible. A gateway that has none
\* is forgotten.
List(t) ==
    LET g == t.of
    IN
    /\ Due(t)
    /\ item[g].known /\ item[g].dead
    /\ hidden = {} \/ Broken = "listIncomplete"
    /\ expiring' = expiring \cup (Attached(g) \ Asked)
    /\ \E dies \in BOOLEAN :
        /\ dies => reaperCrashes < MaxReaperCrashes
        /\ reaperCrashes' = IF dies THEN reaperCrashes + 1 ELSE reaperCrashes
        /\ timers' = IF dies THEN timers ELSE timers \ {t}
        /\ item' = IF Attached(g) = {} /\ ~dies THEN [item EXCEPT ![g].known = FALSE] ELSE item
    /\ UNCHANGED <<gateway, looked, arming, requests, stored, attaches, crashes>>

\* Once an hour the janitor sends a timer for every gateway that is known. Those that live have one (see Watched).
Janitor(g) ==
    /\ item[g].known /\ item[g].dead
    /\ \A t \in timers : t.of # g
    /\ timers' = timers \cup {[of |-> g, beat |-> item[g].beat, number |-> item[g].timer]}
    /\ UNCHANGED <<item, gateway, looked, arming, expiring, requests, stored, budgets>>

Expire ==
    \E e \in expiring :
        /\ expiring' = expiring \ {e}
        /\ queue' = Append(queue, [do |-> "expire", session |-> e[1], epoch |-> e[2]])
        /\ UNCHANGED <<item, gateway, timers, looked, arming, network, stored, budgets>>

-----------------------------------------------------------------------------
\* The sequencer.
Open(s, op) == session[s].is = "open" /\ (session[s].epoch = op.epoch \/ Broken = "noEpoch")

Close(s, by) ==
    /\ session' = [session EXCEPT ![s].is = "closed", ![s].by = by]
    /\ ephemeral' = IF Broken = "ephemeralsLater" THEN ephemeral ELSE [ephemeral EXCEPT ![s] = FALSE]
    /\ UNCHANGED <<hidden, created>>

\* That the gateway lives is a condition of the transaction.
Apply ==
    LET op == Head(queue)
        s == op.session
    IN
    /\ queue # <<>>
    /\ hidden = {}
    /\ queue' = Tail(queue)
    /\ CASE op.do = "attach" ->
                IF \/ session[s].is = "closed"
                   \/ (item[op.gateway].dead \/ ~item[op.gateway].known) /\ Broken # "attachToDead"
                THEN UNCHANGED stored
                ELSE /\ session' = [session EXCEPT ![s] =
                            [is |-> "open", gateway |-> op.gateway, epoch |-> @.epoch + 1, by |-> "nobody"]]
                     /\ hidden' = {s}
                     /\ UNCHANGED <<ephemeral, created>>
         [] op.do = "create" ->
                IF Open(s, op) \/ Broken = "noSessionCheck"
                THEN /\ ephemeral' = [ephemeral EXCEPT ![s] = TRUE]
                     /\ created' = [created EXCEPT ![s] = TRUE]
                     /\ UNCHANGED <<session, hidden>>
                ELSE UNCHANGED stored
         [] op.do = "close" -> IF Open(s, op) THEN Close(s, "client") ELSE UNCHANGED stored
         [] op.do = "expire" -> IF Open(s, op) THEN Close(s, "reaper") ELSE UNCHANGED stored
    /\ UNCHANGED <<item, gateway, reaper, network, budgets>>

Show ==
    /\ hidden # {} /\ hidden' = {}
    /\ UNCHANGED <<item, gateway, reaper, requests, session, ephemeral, created, budgets>>

-----------------------------------------------------------------------------
Reaper ==
    \/ \E t \in timers : Drop(t) \/ ArmNext(t) \/ Overtake(t) \/ Look(t) \/ Declare(t) \/ List(t)
    \/ \E t \in arming : MoveNumber(t)
Sequencer == Apply \/ Show

Next ==
    \/ \E g \in Gateways \ Refuge : Beat(g) \/ Store(g) \/ Learn(g) \/ Lapse(g) \/ Crash(g) \/ Janitor(g)
    \/ \E g \in Gateways : Arrive(g) \/ \E s \in Sessions : Attach(s, g)
    \/ \E s \in Sessions : Request(s)
    \/ Reaper \/ Expire
    \/ Sequencer

Quiet ==
    /\ queue = <<>> /\ timers = {} /\ arming = {} /\ hidden = {} /\ \A g \in Gateways : network[g] = NoOp
    /\ UNCHANGED vars

Spec ==
    /\ Init /\ [][Next \/ Quiet]_vars
    /\ WF_vars(Reaper) /\ WF_vars(Expire) /\ WF_vars(Sequencer)
    /\ \A g \in Gateways \ Refuge : WF_vars(Lapse(g)) /\ WF_vars(Janitor(g)) /\ WF_vars(Store(g))

-----------------------------------------------------------------------------
\* In every complete state an ephemeral exists exactly while its session is open.
EphemeralsLive ==
    \A s \in Sessions :
        /\ ephemeral[s] => session[s].is = "open"
        /\ created[s] /\ session[s].is = "open" => ephemeral[s]

\* Only sessions of dead gateways are expired as such, and what is dead stays dead.
Dead(g) == item[g].dead \/ ~item[g].known
OnlyTheDead == \A s \in Sessions : session[s].by = "reaper" => Dead(session[s].gateway)
DeadStayDead == [][\A g \in Gateways : item[g].dead => item'[g].dead]_vars

\* No client is served by a gateway that has lost its session to the reaper.
NoneServed == \A s \in Sessions : session[s].by = "reaper" => ~Answers(session[s].gateway)

\* A session of a dead gateway is always on somebody's list. (The janitor looks at every gateway that is known.)
NoOrphan ==
    \A s \in Sessions :
        session[s].is = "open" /\ ~item[session[s].gateway].known =>
            \/ <<s, session[s].epoch>> \in expiring
            \/ InQueue([do |-> "expire", session |-> s, epoch |-> session[s].epoch])

\* A gateway is watched by a timer, without the janitor's help.
Watched ==
    \A g \in Gateways \ Refuge :
        item[g].known /\ ~item[g].dead =>
            \E t \in timers : t.of = g /\ t.number \in {item[g].timer, item[g].timer + 1}

\* The sessions of a gateway that died are closed in the end, unless they moved.
Reaped ==
    \A s \in Sessions : \A g \in Gateways :
        (session[s].is = "open" /\ session[s].gateway = g /\ ~up[g])
            ~> ~(session[s].is = "open" /\ session[s].gateway = g)

-----------------------------------------------------------------------------
\* Witnesses, which TLC must reach.
NeverReaped == \A s \in Sessions : ~(session[s].by = "reaper" /\ created[s])
NeverReapedAlive == \A s \in Sessions : ~(session[s].by = "reaper" /\ up[session[s].gateway])
NeverSaved == \A s \in Sessions : ~(session[s].is = "open" /\ session[s].epoch = 2 /\ \E g \in Gateways : item[g].dead)
NeverOvertaken == \A t \in arming : t.number >= item[t.of].timer
NeverSpared == \A t \in looked : item[t.of].beat = t.beat
=============================================================================
