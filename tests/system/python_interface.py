"""A session with the Python interface, cell by cell, as in a notebook; ``test_python_interface`` runs it in a fresh process."""

# %% A study is loaded without reading data
import harness

if __name__ == "__main__":
    study = harness.load_study("masking", seeds=2, sets={"training.updates": 30, "data.dataset.train": 200})
    print(study.variants)
    assert len(study.variants) == 4 and study.skipped == {}

    # %% It runs in worker processes; a second call has nothing to do
    answer = study.run(jobs=2, tracked=False)
    assert not answer.failed and answer.ran.made == 8
    assert study.run(jobs=2, tracked=False).ran.made == 0

    # %% Trials and answers are pandas frames
    trials = study.trials()
    assert set(trials["status"]) == {"ok"} and len(trials) == 8
    print(trials.groupby("variant")["exact_match"].mean())
    answers = study.answers()
    assert list(answers["claim"])[:3] == [claim.name for claim in study.plan.file.claims]
    print(answers[["claim", "delta", "ci_low", "ci_high", "verdict"]])

    # %% The report is written from the store
    print(study.report().files)

    # %% A trained model translates, scores and shows where it looks
    model = harness.load_model(trials["trial"][0])
    [found] = model.translate(["forty two"])
    print(found.text, found.score)
    target = "四 十 二"
    [score, same] = model.score(["forty two", "forty two"], [target, target])
    assert score == same < 0
    seen = model.attention("forty two")
    print(seen and (seen.source, seen.said))
    assert model.unknown("forty zzz") == ["zzz"]
