//! What people who read Korean are told.

use crate::world::World;

#[tokio::test]
async fn a_run_that_failed_is_told_with_what_which_servers_why_and_what_to_do() {
    let mut world = World::at("2026-11-23T08:40:00Z")
        .with(
            "[rules.office]\ncron = \"50 8 * * *\"\nstart = [\"db\"]\n[groups.gone]\nservers = [\"9999\"]\n",
        )
        .with("[rules.other]\ncron = \"50 8 * * *\"\nstart = [\"gone\"]\n");
    world.force("1003", "RUN", "TERMT");

    world.run(3600).await;

    let told = world.korean();
    let of =
        |words: &str| told.iter().find(|text| text.contains(words)).unwrap_or_else(|| panic!("{told:#?}"));
    let run = of("(규칙 office, 시작)이(가) 끝났습니다");
    assert!(run.contains("건너뜀") && run.contains("1대") && run.contains("이유: "), "{run}");
    assert!(run.ends_with(".") && run.contains("자세한 내용은 `sunup history "), "{run}");
    assert!(of("실행 2(규칙 other").contains("서버가 더 이상 없음"), "{told:#?}");
    assert!(of("지금대로라면 문제가 있습니다").contains("2026-11-23T08:50"), "{told:#?}");
}
