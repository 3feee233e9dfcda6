//! A workflow for GitHub Actions.
//!
//! Values reach the script as environment variables and never as `${{ }}` inside `run`: there, a
//! user who can name a branch could inject shell code.

use super::Snippet;

pub(super) fn render(snippet: &Snippet) -> String {
    let component = snippet.component.as_str();
    let secret = format!(
        "CHOREO_TOKEN_{}",
        component.replace('-', "_").to_ascii_uppercase()
    );
    let script: String = snippet.script().lines().map(indented).collect();
    // Longer than the script's own patience, so that the script reports the outcome.
    let minutes = snippet.patience.as_secs().div_ceil(60) + 5;
    TEMPLATE
        .replace("@COMPONENT@", component)
        .replace("@SECRET@", &secret)
        .replace("@MINUTES@", &minutes.to_string())
        .replace("@EXAMPLE@", &snippet.example)
        .replace("@SCRIPT@\n", &script)
}

fn indented(line: &str) -> String {
    if line.is_empty() {
        "\n".to_owned()
    } else {
        format!("          {line}\n")
    }
}

const TEMPLATE: &str = r"---
# Save as .github/workflows/deploy-@COMPONENT@.yml. In the repository's settings, create the
# environment 'development' and in it the secret @SECRET@.
#
# Call it from the workflow that builds the image, with the digest that the push reported:
#
#   deploy:
#     needs: build
#     uses: ./.github/workflows/deploy-@COMPONENT@.yml
#     secrets: inherit # Without it, the environment's secret is empty here.
#     with:
#       image: @EXAMPLE@
#       digest: ${{ needs.build.outputs.digest }}
name: Deploy @COMPONENT@

'on':
  workflow_call:
    inputs:
      image:
        description: The image to deploy
        required: true
        type: string
      digest:
        description: The digest of the image
        required: false
        type: string
        default: ''
  workflow_dispatch:
    inputs:
      image:
        description: The image to deploy
        required: true
        type: string
      digest:
        description: The digest of the image
        required: false
        type: string
        default: ''

permissions: {}

# One at a time; the newest waits, and replaces those that wait already.
concurrency:
  group: deploy-@COMPONENT@
  cancel-in-progress: false

jobs:
  deploy:
    name: Deploy @COMPONENT@
    runs-on: ubuntu-latest
    timeout-minutes: @MINUTES@
    environment: development
    steps:
      - name: Deploy @COMPONENT@
        env:
          CHOREO_TOKEN: ${{ secrets.@SECRET@ }}
          CHOREO_KEY: github-${{ github.run_id }}-${{ github.run_attempt }}
          IMAGE: ${{ inputs.image }}
          DIGEST: ${{ inputs.digest }}
          COMMIT: ${{ github.sha }}
          RUN_URL: ${{ github.server_url }}/${{ github.repository }}/actions/runs/${{ github.run_id }}
        run: |
@SCRIPT@
";
