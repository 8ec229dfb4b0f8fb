"""Corners: every extreme value, every branch, no invalid point."""

from __future__ import annotations

import itertools

import pytest

from sentiment.search.space import corners
from sentiment.search.space.corners import list_corners
from sentiment.search.space.reading import read_space


def accept(point):
    return True


def test_a_small_space_gives_the_full_product_of_ends_and_categories():
    space = read_space(["a=interval(0.5,1.5)", "b=range(1,100)", "c=x,y,z", "d=range(3,4)"], {}, {}, None)
    wanted = itertools.product([0.5, 1.5], [1, 99], ["x", "y", "z"], [3])
    assert list_corners(space, is_valid=accept) == [dict(zip("abcd", point, strict=True)) for point in wanted]


def test_a_branch_has_corners_of_its_own():
    branches = {"m=a": {"x": "range(1,9)"}, "m=b": {"x": "range(1,5)", "y": "p,q"}}
    corners = list_corners(read_space([], {"m": "a,b,c"}, branches, None), is_valid=accept)
    assert corners == [
        {"m": "a", "x[m=a]": 1},
        {"m": "a", "x[m=a]": 8},
        *({"m": "b", "x[m=b]": depth, "y": cell} for depth in (1, 4) for cell in ("p", "q")),
        {"m": "c"},
    ]


def test_a_space_without_parameters_has_one_corner():
    assert list_corners(read_space(["a=1"], {}, {}, None), is_valid=accept) == [{}]


def list_pairs(points):
    return {
        frozenset([(one, str(point[one])), (other, str(point[other]))])
        for point in points
        for one, other in itertools.combinations_with_replacement(point, 2)
    }


WIDE = {**{f"p{i}": "choice(1,2,3)" for i in range(4)}, "m": "choice(a,b,c)", "flag": "choice(true,1,x)"}
WIDE_BRANCHES = {
    "m=a": {"x": "range(1,9)", "y": "interval(0,1)"},
    "m=b": {"x": "range(1,5)", "s": "u,v"},
    "m=c": {"s": "u,v"},
}


@pytest.mark.parametrize(
    "is_valid",
    [
        accept,
        lambda point: point["p0"] != point["p1"],
        lambda point: point["m"] != "b" or point["p3"] == 2,
    ],
    ids=["all", "unequal", "branch"],
)
def test_a_large_space_covers_each_pair_that_the_full_product_has(is_valid, monkeypatch):
    space = read_space([], WIDE, WIDE_BRANCHES, None)
    cover = list_corners(space, is_valid=is_valid)
    assert list_corners(space, is_valid=is_valid) == cover
    monkeypatch.setattr(corners, "MOST_CORNERS", 10**9)
    full = list_corners(space, is_valid=is_valid)
    assert list_pairs(cover) == list_pairs(full)
    assert len(cover) < 40 < 1000 < len(full)
    assert all(is_valid(point) for point in cover)
    assert all(list(space.active(point)) and set(point) == {p.name for p in space.active(point)} for point in cover)


def test_a_huge_space_is_covered_by_few_corners():
    params = {f"p{i}": "interval(0,1)" for i in range(40)}
    space = read_space([], params, {}, None)
    cover = list_corners(space, is_valid=accept)
    assert len(cover) <= 32
    assert len(list_pairs(cover)) == 40 * 2 + 40 * 39 // 2 * 4


def test_corners_that_break_constraints_are_left_out(monkeypatch):
    space = read_space(["a=1,2,3", "b=1,2,3"], {}, {}, None)
    found = list_corners(space, is_valid=lambda point: point["a"] % point["b"] == 0)
    assert [(corner["a"], corner["b"]) for corner in found] == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 3)]
    assert list_corners(space, is_valid=lambda point: False) == []
    monkeypatch.setattr(corners, "MOST_CORNERS", 1)
    assert list_corners(space, is_valid=lambda point: False) == []
